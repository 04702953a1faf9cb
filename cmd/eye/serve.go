package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/alecthomas/kong"

	"github.com/the-eye/eye/internal/app"
	"github.com/the-eye/eye/internal/config"
)

// serveCommand is `eye serve`.
type serveCommand struct {
	File kong.ConfigFlag `name:"config" env:"EYE_CONFIG" placeholder:"FILE" help:"YAML file with settings: one key per flag, without the dashes."`

	config.Config
}

// Help is printed below the flags.
func (c *serveCommand) Help() string {
	return `Everything runs in this one process and is kept below --data. SIGTERM drains:
requests in flight are answered, and nothing that was acknowledged is lost.

Examples:
  eye serve
  eye serve --data /var/lib/eye --listen 0.0.0.0:8080
  EYE_ADMIN_KEY=$(openssl rand -hex 32) eye serve
  eye serve --config /etc/eye.yaml     # e.g. a line "journal-max-bytes: 50GiB"

Then, from another shell:
  eye app create "Web shop"            # prints an API key`
}

// Run serves until the context is done.
func (c *serveCommand) Run(ctx context.Context, std *streams) error {
	if err := c.Check(); err != nil {
		return usageError(fmt.Sprintf("settings:\n%v", err))
	}
	log := newLog(std.err, &c.Config)
	return app.Run(ctx, &c.Config, log, thisBuild().public(), nil)
}

// newLog is the log that the settings ask for.
func newLog(w io.Writer, cfg *config.Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		panic("eye: kong has checked the level: " + err.Error())
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
