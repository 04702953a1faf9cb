// Package api is the HTTP side of The Eye: reading and administration as JSON,
// the probes, the OpenAPI document and the page made from it.
//
//	request ─▶ id, count, log, recover ─▶ route ─▶ authenticate ─▶ scope ─▶ handler
//
// There is one table of routes (see routes.go) that says for each who may call
// it; nothing is open that the table does not say is public. Whatever goes
// wrong is answered as application/problem+json, from one place (see fail).
//
// Taking events in and the live stream are handlers of their own, handed over
// in Options; they get their requests authenticated, with the principal in the
// context and the request's id in the answer's header.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// Catalog is where applications are kept. Its errors are those of package
// catalog.
type Catalog interface {
	Applications() []access.Application
	Application(id string) (access.Application, error)
	CreateApplication(ctx context.Context, app access.Application) error
	UpdateApplication(ctx context.Context, id string, change func(*access.Application) error) (access.Application, error)
	DeleteApplication(ctx context.Context, id string) error
}

// Options of the API. All but Registerer, ReadTimeout and Now are needed.
type Options struct {
	Log           *slog.Logger
	Registerer    prometheus.Registerer // nil: nothing is counted
	Authenticator *access.Authenticator
	Catalog       Catalog
	Receipts      *event.Receipts

	// Reader is the store as it can be read now, or an error while it cannot.
	Reader func() (store.Reader, error)
	// Committed is the last journal block whose records are all in the store.
	Committed func() uint64
	// Pending reads a record from the journal; store.ErrNotFound when the
	// journal does not have it (any more).
	Pending func(ctx context.Context, p event.Position) (event.Record, error)

	Intake  http.Handler // POST /v1/events
	Live    http.Handler // GET /v1/live
	Metrics http.Handler // GET /metrics

	// Alive and Ready are asked by the probes. Their Details are public.
	Alive func(ctx context.Context) []Check
	Ready func(ctx context.Context) []Check

	Version Version

	ReadTimeout time.Duration    // the most that one reading request may take; 0: 30 s
	Now         func() time.Time // nil: time.Now
}

// Check is one thing that a probe looked at.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // what is wrong, for an operator, with nothing secret in it
}

// Version is what is running.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Built   string `json:"built,omitempty"` // RFC 3339
	Go      string `json:"go,omitempty"`
}

const defaultReadTimeout = 30 * time.Second

// api holds what the handlers need.
type api struct {
	Options
	metrics *metrics
}

// New is the whole HTTP side as one handler.
func New(o Options) http.Handler {
	if o.ReadTimeout <= 0 {
		o.ReadTimeout = defaultReadTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &api{Options: o, metrics: newMetrics(o.Registerer)}
	return a.mux(a.routes())
}
