package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/the-eye/eye/internal/bench"
)

// benchCommand is `eye bench`.
type benchCommand struct {
	Ingest benchIngest `cmd:"" help:"Send events, and check that each one acknowledged is readable exactly once."`
	Idle   benchIdle   `cmd:"" help:"Measure what a server uses that nobody talks to."`
	Bare   benchBare   `cmd:"" hidden:"" help:"Serve the handler that The Eye is compared with."`
}

// benchIngest is `eye bench ingest`.
type benchIngest struct {
	Connections int           `default:"512" placeholder:"N" help:"Parallel connections (${default})."`
	Events      int           `default:"1" placeholder:"N" help:"Events in a request, 1 to 1000 (${default})."`
	Duration    time.Duration `default:"10s" placeholder:"TIME" help:"How long to send (${default})."`
	Requests    int64         `placeholder:"N" help:"Stop after so many requests if that is sooner; then there is no warm-up."`
	Warmup      time.Duration `default:"1s" placeholder:"TIME" help:"How long to send before that, without measuring (${default})."`
	Rate        float64       `placeholder:"N" help:"Send so many events a second whatever the answers do, and measure from when each was due. Without: as fast as answers come."`
	Bad         float64       `placeholder:"SHARE" help:"Share of events that break a rule, 0 to 1."`
	Duplicates  float64       `placeholder:"SHARE" help:"Share of events that repeat an acknowledged one, 0 to 1."`
	Probes      float64       `default:"10" placeholder:"N" help:"Single events a second whose time until readable is measured; 0 for none (${default})."`
	Bare        time.Duration `default:"5s" placeholder:"TIME" help:"How long to load the bare handler for comparison, half before and half after; 0 for not at all (${default})."`
	Drain       time.Duration `default:"2m" placeholder:"TIME" help:"How long to wait until all is readable (${default})."`
	Readback    bool          `default:"true" negatable:"" help:"Read everything back and compare (--no-readback: do not)."`
	ReadbackMax int64         `default:"2000000" placeholder:"N" help:"Above so many events read back slices of the time line that hold about so many (${default})."`
	URL         string        `name:"url" placeholder:"URL" help:"Load this running server, on this machine, instead of starting one. It keeps the events."`
	Key         string        `env:"EYE_ADMIN_KEY" placeholder:"KEY" help:"Its operator's key."`
	Dir         string        `type:"existingdir" placeholder:"DIR" help:"Where to make the data directory. A file system in memory makes syncing free and the numbers worthless."`
	Keep        bool          `help:"Keep the data directory."`
	JSON        bool          `name:"json" help:"Print the report as JSON."`
}

// Help is the longer help with examples.
func (*benchIngest) Help() string {
	return `Starts a server of its own with an empty data directory, and in turn a bare handler that
only reads the body, and loads both the same way. Exits with 1 when anything that was
acknowledged is lost, doubled or altered, or a request got no answer.

  eye bench ingest                                      single events, 512 connections
  eye bench ingest --connections 64 --events 100 --duration 1m
  eye bench ingest --connections 16 --rate 100          acknowledgement at a gentle rate
  eye bench ingest --bad 0.05 --duplicates 0.1 --json`
}

// Run measures and prints.
func (c *benchIngest) Run(ctx context.Context, std *streams) error {
	r, err := bench.Ingest(ctx, bench.Options{
		URL: c.URL, Key: c.Key, Dir: c.Dir, Keep: c.Keep,
		Connections: c.Connections, Events: c.Events, Duration: c.Duration, Requests: c.Requests,
		Warmup: c.Warmup, Rate: c.Rate, Bad: c.Bad, Duplicates: c.Duplicates, Probes: c.Probes, Bare: c.Bare,
		Drain: c.Drain, Readback: c.Readback, ReadbackMax: c.ReadbackMax,
		Say: saying(std.err),
	})
	if err != nil {
		return fmt.Errorf("bench ingest: %w", err)
	}
	if err := printReport(std.out, r, c.JSON); err != nil {
		return err
	}
	if len(r.Faults) > 0 {
		return errSaid
	}
	return nil
}

// benchIdle is `eye bench idle`.
type benchIdle struct {
	Settle   time.Duration `default:"10s" placeholder:"TIME" help:"How long to leave it alone before measuring (${default})."`
	Duration time.Duration `default:"20s" placeholder:"TIME" help:"How long to measure (${default})."`
	Dir      string        `type:"existingdir" placeholder:"DIR" help:"Where to make the data directory."`
	JSON     bool          `name:"json" help:"Print the report as JSON."`
}

// Run measures and prints.
func (c *benchIdle) Run(ctx context.Context, std *streams) error {
	r, err := bench.Idle(ctx, bench.IdleOptions{Dir: c.Dir, Settle: c.Settle, Duration: c.Duration, Say: saying(std.err)})
	if err != nil {
		return fmt.Errorf("bench idle: %w", err)
	}
	return printReport(std.out, r, c.JSON)
}

// benchBare is `eye bench bare`, which bench ingest starts.
type benchBare struct {
	Listening string `arg:"" help:"File to say in where it listens."`
}

// Run serves until it is told to end.
func (c *benchBare) Run(ctx context.Context) error { return bench.Bare(ctx, c.Listening) }

// printReport writes for people, or for programs.
func printReport(w io.Writer, r interface{ Write(io.Writer) error }, asJSON bool) error {
	if !asJSON {
		return r.Write(w)
	}
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(r)
}

// saying tells a person what is going on.
func saying(w io.Writer) func(string) {
	return func(sentence string) { fmt.Fprintln(w, "eye:", sentence) }
}
