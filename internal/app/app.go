// Package app is the one place that knows every part of The Eye: it opens them
// in the order of an event's way, and closes them in the same order, so that
// whatever was taken in is finished before what it needs goes away.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/api"
	"github.com/the-eye/eye/internal/catalog"
	"github.com/the-eye/eye/internal/config"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/ingest"
	"github.com/the-eye/eye/internal/journal"
	"github.com/the-eye/eye/internal/live"
	"github.com/the-eye/eye/internal/process"
	"github.com/the-eye/eye/internal/store"
	"github.com/the-eye/eye/internal/store/duckdb"
)

// Bounds that are no settings.
const (
	startPatience = 5 * time.Second        // for the store, before serving without it
	stopPatience  = 10 * time.Second       // for each part to stop
	farewell      = 250 * time.Millisecond // before connections are closed; see drain

	headerTimeout  = 10 * time.Second
	writeTimeout   = time.Minute // of an answer, waiting included; streams set their own
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10

	batchEvents = 64 << 10
	batchBytes  = 32 << 20
)

// Ready is told where the service can be reached, once it can.
type Ready func(Address)

// Run serves until ctx is done, then drains: requests in flight are answered,
// what they sent is in the journal, and what the journal holds is processed at
// the next start.
func Run(ctx context.Context, cfg *config.Config, log *slog.Logger, build api.Version, ready Ready) error {
	dir, err := openDir(cfg.Data)
	if err != nil {
		return err
	}
	defer dir.close()
	key, err := dir.adminKey(string(cfg.AdminKey))
	if err != nil {
		return err
	}
	authenticator, err := access.NewAuthenticator(key, time.Now)
	if err != nil {
		return fmt.Errorf("admin-key: %w", err)
	}

	// What a stuck journal server needs is all new parts, as after a restart.
	for attempt := 1; ; attempt++ {
		s := &service{cfg: cfg, log: log, dir: dir, authenticator: authenticator, registry: prometheus.NewRegistry(), drained: make(chan struct{})}
		err := s.run(ctx, build, ready)
		if ctx.Err() != nil || !errors.Is(err, journal.ErrStuck) || errors.Is(err, errNotClosed) {
			return err
		}
		log.Error("everything is opened again, since the journal does not go on", "err", err, "attempt", attempt)
		if s.address != "" {
			again := *cfg
			again.Listen = s.address // also where any free port was asked for
			cfg, ready = &again, nil // who wanted to know knows
		}
	}
}

// run opens everything, serves until ctx is done or a part ends, and closes
// everything.
func (s *service) run(ctx context.Context, build api.Version, ready Ready) error {
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := s.open(ctx, build); err != nil {
		return errors.Join(err, s.closeEngine())
	}
	return errors.Join(s.serve(ctx, ready), s.closeEngine())
}

// errNotClosed: the journal's server did not stop. Its files must not be opened
// again in this process, so that the process has to end.
var errNotClosed = errors.New("the journal server did not stop")

// service is the parts, in the order of an event's way.
type service struct {
	cfg           *config.Config
	log           *slog.Logger
	dir           *dir
	registry      *prometheus.Registry
	authenticator *access.Authenticator
	address       string // listened on

	engine    *journal.Server
	journal   *journal.Journal
	catalog   *catalog.Catalog
	processor *process.Processor
	hub       *live.Hub
	http      *http.Server
	drained   chan struct{} // closed when long answers shall end, and connections with each answer
}

// open makes every part; none of them runs yet.
func (s *service) open(ctx context.Context, build api.Version) error {
	cfg, err := s.cfg, error(nil)
	s.engine, err = journal.StartServer(ctx, journal.ServerOptions{
		URL: cfg.Journal.URL, CredentialsFile: cfg.Journal.Credentials,
		Dir: s.dir.path("journal"), Log: s.log.With("part", "journal"),
	})
	if err != nil {
		return err
	}
	s.journal, err = journal.Open(ctx, s.engine, journal.Options{
		Replicas: cfg.Journal.Replicas, Synced: cfg.Journal.Synced, MaxBytes: int64(cfg.Journal.MaxBytes), MinFreeBytes: int64(cfg.Journal.MinFree),
		Retention: cfg.Journal.Retention, Log: s.log.With("part", "journal"), Registerer: s.registry,
	})
	if err != nil {
		return err
	}
	s.catalog, err = catalog.Open(ctx, s.log.With("part", "catalog"), s.engine.JetStream(), catalog.Options{
		Replicas: cfg.Journal.Replicas, Changed: s.authenticator.Update,
	})
	if err != nil {
		return err
	}
	key, err := s.catalog.ReceiptKey(ctx)
	if err != nil {
		return err
	}
	receipts, err := event.NewReceipts(key)
	if err != nil {
		return fmt.Errorf("receipt key of the catalog: %w", err)
	}
	s.hub = live.NewHub()
	s.processor = process.New(process.Options{
		Log: s.log.With("part", "process"), Registerer: s.registry, Journal: s.journal,
		Open: s.openStore, Publish: s.hub.Publish,
		Interval: cfg.Store.Interval, BatchEvents: batchEvents, BatchBytes: batchBytes,
	})
	s.http = s.server(receipts, build)
	return nil
}

// openStore opens the store; the processor calls it again after the store broke.
func (s *service) openStore(ctx context.Context) (store.Store, error) {
	// Whoever removed the store may have removed its directory with it.
	if err := os.MkdirAll(s.dir.path("store"), 0o700); err != nil {
		return nil, fmt.Errorf("make the store's directory: %w", err)
	}
	st, err := duckdb.Open(ctx, tuned(duckdb.Options{
		Path: filepath.Join(s.dir.path("store"), "eye.duckdb"), MemoryLimit: int64(s.cfg.Store.Memory), Threads: s.cfg.Store.Threads,
		Log: s.log.With("part", "store"), Registerer: s.registry,
	}))
	if err != nil {
		return nil, err
	}
	block, err := st.CommittedBlock(ctx)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	s.hub.Start(event.At(block+1, 0) - 1)
	return st, nil
}

// server makes the HTTP side.
func (s *service) server(receipts *event.Receipts, build api.Version) *http.Server {
	limits := s.cfg.Ingest
	handler := api.New(api.Options{
		Log: s.log.With("part", "api"), Registerer: s.registry,
		Authenticator: s.authenticator, Catalog: s.catalog, Receipts: receipts,
		Reader: s.processor.Reader, Committed: s.processor.Committed, Pending: s.pending,
		Intake: ingest.New(ingest.Options{
			Log: s.log.With("part", "ingest"), Registerer: s.registry,
			Journal: s.journal, Outcomes: s.processor, Receipts: receipts, Now: time.Now,
			Limits: ingest.Limits{
				EventBytes: int(limits.EventBytes), RequestEvents: limits.RequestEvents,
				RequestBytes: int(limits.RequestBytes), InFlightBytes: int64(limits.InFlightBytes),
			},
		}),
		Live: live.NewHandler(live.Options{
			Hub: s.hub, Receipts: receipts, Reader: s.processor.Reader,
			Filter: api.LiveFilter, Done: s.drained,
			Encode: func(b []byte, row *store.Row) []byte { return api.AppendEvent(b, row, receipts) },
		}),
		Alive: s.alive, Ready: s.ready,
		Metrics: promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{Registry: s.registry}),
		Version: build,
	})
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: s.leaving(handler), Protocols: protocols,
		ReadHeaderTimeout: min(headerTimeout, s.cfg.ReadTimeout), ReadTimeout: s.cfg.ReadTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(s.log.With("part", "http").Handler(), slog.LevelDebug),
	}
}

// serve runs every part until ctx is done or one of them ends.
func (s *service) serve(ctx context.Context, ready Ready) error {
	asked := ctx
	ctx, cancel := context.WithCancelCause(asked)
	defer cancel(nil)
	catalogued := s.start(ctx, cancel, "catalog", s.catalog.Run)
	journalled := s.start(ctx, cancel, "journal", s.journal.Run)
	processed := s.start(ctx, cancel, "process", s.processor.Run)
	defer func() { // in the order of an event's way; HTTP has stopped before
		for _, stop := range []func(){journalled, processed, catalogued} {
			stop()
		}
	}()

	// Before the store has been seen nobody knows whether this journal belongs
	// to it. A store that does not open is no reason to refuse events, though.
	select {
	case <-s.processor.Tried():
	case <-time.After(startPatience):
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return cause(asked, ctx)
	}

	listener, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w; choose another address with --listen", err)
	}
	s.address = listener.Addr().String()
	address := addressOf(listener)
	if err := s.dir.announce(address); err != nil {
		listener.Close()
		return err
	}
	debug, err := startDebug(s.cfg.DebugListen, s.log)
	if err != nil {
		listener.Close()
		return err
	}
	defer debug()
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(listener) }()
	s.log.Info("serving", "url", address.URL, "data", s.dir.root)
	if ready != nil {
		ready(address)
	}

	select {
	case <-ctx.Done():
	case err := <-served:
		cancel(fmt.Errorf("serve HTTP: %w", err))
	}
	s.drain()
	return cause(asked, ctx)
}

// start runs a part in a goroutine. A part that ends by itself ends the service:
// a half-alive one is worse than a restart. The function that start returns ends
// the part and waits for it.
func (s *service) start(ctx context.Context, cancel context.CancelCauseFunc, name string, run func(context.Context) error) (stop func()) {
	own, end := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() {
		err := run(own)
		if own.Err() == nil {
			if err == nil {
				err = errors.New("ended unasked")
			}
			cancel(fmt.Errorf("%s: %w", name, err))
		} else if err != nil && !errors.Is(err, context.Canceled) {
			s.log.Warn("a part did not stop cleanly", "part", name, "err", err)
		}
	})
	return func() {
		end()
		done.Wait()
	}
}

// leaving tells clients, once the service drains, that each answer is the last
// one on its connection.
func (s *service) leaving(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-s.drained:
			w.Header().Set("Connection", "close")
		default:
		}
		h.ServeHTTP(w, r)
	})
}

// drain stops taking requests and waits for the answers of those in flight.
//
// Shutdown closes connections that are idle at that moment, also under a
// request that is just on its way, which then gets no answer at all. So clients
// that are busy are first given a moment to be told and to leave by themselves.
func (s *service) drain() {
	s.log.Info("draining", "timeout", s.cfg.DrainTimeout)
	close(s.drained)
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	select {
	case <-time.After(farewell):
	case <-ctx.Done():
	}
	if err := s.http.Shutdown(ctx); err != nil {
		s.log.Warn("requests were cut off", "err", err)
		s.http.Close()
	}
	s.journal.Drain()
}

// cause is why ctx ended; nil when asked, which it comes from, ended it.
func cause(asked, ctx context.Context) error {
	if asked.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// closeEngine stops the journal's server, the last of all.
func (s *service) closeEngine() error {
	if s.engine == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	if err := s.engine.Close(ctx); err != nil {
		return fmt.Errorf("%w: %w", errNotClosed, err)
	}
	return nil
}

// pending is the record at p as the journal has it.
func (s *service) pending(ctx context.Context, p event.Position) (event.Record, error) {
	block, err := s.journal.Block(ctx, p.Block())
	if errors.Is(err, journal.ErrNotFound) {
		return event.Record{}, store.ErrNotFound
	}
	if err != nil {
		return event.Record{}, err
	}
	// What is found lies in the block's memory, which is therefore not released.
	found, index := event.Record{}, 0
	for _, b := range block.Batches {
		err := event.DecodeRecords(b.Records, event.At(block.Sequence, index), func(r event.Record) error {
			if r.Event != nil && r.Event.Position == p || r.Refusal != nil && r.Refusal.Position == p {
				found = r
			}
			return nil
		})
		if err != nil {
			return found, fmt.Errorf("decode journal block %d: %w", block.Sequence, err)
		}
		index += b.Count
	}
	if found == (event.Record{}) {
		return found, store.ErrNotFound
	}
	return found, nil
}

// alive says that the process answers: a part that ends takes it along.
func (s *service) alive(context.Context) []api.Check {
	return []api.Check{{Name: "service", OK: true}}
}

// ready says what keeps the service from taking events, or from making them
// readable. The probe is public, so that what it says names no paths; the log
// has the whole error.
func (s *service) ready(context.Context) []api.Check {
	taking, storing := api.Check{Name: "journal", OK: true}, api.Check{Name: "process", OK: true}
	if err := s.journal.Ready(); err != nil {
		taking.OK, taking.Detail = false, err.Error()
	}
	if err := s.processor.Health(); err != nil {
		storing.OK, storing.Detail = false, processDetail(err)
	}
	return []api.Check{taking, storing}
}

// processDetail says in public why processing stands still.
func processDetail(err error) string {
	for _, known := range []error{process.ErrGap, process.ErrJournalBehind, store.ErrBroken} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "events are taken, and become readable when the store works again; the log says what is wrong"
}
