// Package eyetest runs the whole service inside a test: every part that `eye
// serve` has, on a free port of this machine and a directory of the test's own.
//
//	s := eyetest.Start(t)
//	key := s.NewApplication(t, "web-shop", "events:write", "events:read")
//	s.Post(t, key, event).Want(t, 202)
//
// It asks over HTTP only, as a client would. Nothing here is for production.
package eyetest

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/the-eye/eye/internal/api"
	"github.com/the-eye/eye/internal/app"
	"github.com/the-eye/eye/internal/config"
)

// AdminKey is the operator's key of every Service.
const AdminKey = "operator-of-the-tests-0123456789abcdef"

// patience is how long the service may take for what happens by itself. A busy
// machine is no failure; standing still is.
const patience = 30 * time.Second

// Service is a service that runs.
type Service struct {
	URL  string
	Key  string // the operator's, with every scope
	Data string // its directory

	Client *http.Client

	cfg  *config.Config
	stop context.CancelFunc
	done chan struct{} // closed when it has stopped
	err  error         // why, once done is closed
	once sync.Once     // closing the client
}

// Option changes the settings before the start.
type Option func(*config.Config)

// Data keeps the service in dir, e.g. that of a service that has stopped.
func Data(dir string) Option { return func(c *config.Config) { c.Data = dir } }

// WithoutKey lets the service make an operator's key of its own.
func WithoutKey(c *config.Config) { c.AdminKey = "" }

// Settings are those of a Service that is given no options: the defaults, made
// small, on a free port.
func Settings(t testing.TB) *config.Config {
	t.Helper()
	cfg, err := config.Default()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Data, cfg.Listen, cfg.AdminKey = t.TempDir(), "127.0.0.1:0", AdminKey
	cfg.Journal.MaxBytes, cfg.Journal.MinFree = 1<<30, 64<<20
	cfg.Store.Memory, cfg.Store.Threads = 256<<20, 2
	return cfg
}

// Start starts a service and waits until it serves. It is stopped with the test.
func Start(t testing.TB, options ...Option) *Service {
	t.Helper()
	cfg := Settings(t)
	for _, change := range options {
		change(cfg)
	}
	if err := cfg.Check(); err != nil {
		t.Fatalf("settings: %v", err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	s := &Service{Key: AdminKey, Data: cfg.Data, cfg: cfg, stop: stop, done: make(chan struct{}), Client: NewClient()}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	address := make(chan app.Address, 1)
	go func() {
		defer close(s.done)
		s.err = app.Run(ctx, cfg, log, api.Version{Version: "test"}, func(a app.Address) { address <- a })
	}()
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("the service ended with %v", err)
		}
	})
	select {
	case a := <-address:
		s.URL = a.URL
	case <-s.done:
		t.Fatalf("the service does not start: %v", s.err)
	case <-time.After(patience):
		t.Fatal("the service does not start")
	}
	return s
}

// NewClient is an HTTP client whose connections are nobody else's.
func NewClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		Timeout:   patience,
	}
}

// Interrupt does what SIGTERM does, and does not wait.
func (s *Service) Interrupt() { s.stop() }

// Stop interrupts the service, waits until it has ended, and returns why it
// ended: nil when it was asked to. It can be called again.
func (s *Service) Stop() error {
	s.stop()
	<-s.done
	s.once.Do(s.Client.CloseIdleConnections)
	return s.err
}

// Restart stops the service and starts one on the same data and settings, but
// on another port.
func (s *Service) Restart(t testing.TB) *Service {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Fatalf("the service ended with %v", err)
	}
	return Start(t, func(c *config.Config) {
		*c = *s.cfg
	})
}
