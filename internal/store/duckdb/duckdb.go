// Package duckdb keeps the events of one machine in an embedded DuckDB file.
//
// The events lie in one table in the order of the journal. No tree index covers
// them: every 262,144 events or so become a segment, with a fuse filter over its
// session ids and one over its keys, both held in memory. A question about a
// session or a key asks the filters first, and then reads only the segments
// that may know. What is not yet in a segment is the tail: at most one segment
// and one batch, small enough to be scanned, and its keys are in a map.
//
// One connection writes; maintenance (sealing segments, folding the ledger)
// runs on it behind a batch. Checkpoints and the merging of filters run beside
// it in goroutines that Append starts and Close waits for. Nothing runs while
// nothing is written.
//
// The package does not guard its file against a second process beyond the lock
// that DuckDB holds on it, and not at all against a second Open in this one.
package duckdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// Options say where the store is and what it may use.
type Options struct {
	// Path of the database file. Required. Beside it lie Path.wal and, while a
	// question spills, Path.tmp.
	Path string

	// MemoryLimit bounds the memory of the engine in bytes; 0 means 1 GiB. The
	// filters (about 4 bytes an event) come on top of it.
	MemoryLimit int64

	// Threads that a question may use; 0 means half of the processors. With
	// one, a question runs where it is asked; with more, the engine lets a
	// thread spin while another has the only task.
	Threads int

	// Readers is how many questions may run at once, others wait; 0 means 8.
	Readers int

	// Log may be nil: then nothing is logged.
	Log *slog.Logger

	// Registerer takes the metrics; nil: nobody wants them.
	Registerer prometheus.Registerer

	// SegmentEvents is the number of events from which on the tail becomes a
	// segment; 0 means 262,144. Tests make it small.
	SegmentEvents int

	// WALBytes is the size of the write-ahead log from which on a checkpoint
	// is due; 0 means 48 MiB. Start-up reads that log.
	WALBytes int64

	// RowGroupSize is the number of events that the file compresses as a unit,
	// a multiple of 2,048; 0 means DefaultRowGroupSize.
	RowGroupSize int
}

// DefaultRowGroupSize was chosen by measuring; see docs/adr/0002-store-layout.md.
const DefaultRowGroupSize = 65_536

const (
	defaultMemoryLimit   = 1 << 30
	defaultReaders       = 8
	defaultSegmentEvents = 262_144
	defaultWALBytes      = 48 << 20
)

func (o Options) withDefaults() Options {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&o.Threads, max(1, runtime.GOMAXPROCS(0)/2))
	set(&o.Readers, defaultReaders)
	set(&o.SegmentEvents, defaultSegmentEvents)
	set(&o.RowGroupSize, DefaultRowGroupSize)
	if o.MemoryLimit <= 0 {
		o.MemoryLimit = defaultMemoryLimit
	}
	if o.WALBytes <= 0 {
		o.WALBytes = defaultWALBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Store is a store.Store in one DuckDB file.
type Store struct {
	options Options
	log     *slog.Logger
	metrics *metrics
	file    os.FileInfo // as opened, to notice when another lies in its place

	db     *sql.DB
	writer *sql.Conn // of the processor, and of maintenance behind a batch

	index   atomic.Pointer[index] // what is sealed; replaced as a whole
	indexMu sync.Mutex            // held while index is replaced
	block   atomic.Uint64
	count   struct{ events, quarantined atomic.Int64 }
	fault   atomic.Pointer[error] // set once: why the store is broken
	closed  atomic.Bool
	calls   sync.RWMutex // read-held by readers; Close takes it

	mu           sync.Mutex // held by Append, Existing and Close
	tail         *tail      // guarded by mu
	lastPosition event.Position
	checkpoint   background // guarded by mu
	merging      background // guarded by mu
}

var _ store.Store = (*Store)(nil)

// Open opens the store at o.Path and creates it when it is not there. It
// refuses a file that a newer version has written.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	if o.Path == "" {
		return nil, errors.New("open store: no path")
	}
	o = o.withDefaults()
	start := time.Now()
	s := &Store{options: o, log: o.Log}
	if s.db, err = openEngine(ctx, o); err != nil {
		return nil, fmt.Errorf("open store %s: %w", o.Path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open store %s: %w", o.Path, errors.Join(err, s.release()))
		}
	}()
	if s.writer, err = s.db.Conn(ctx); err != nil {
		return nil, err
	}
	if err = s.prepareSchema(ctx); err != nil {
		return nil, err
	}
	if s.file, err = os.Stat(o.Path); err != nil {
		return nil, err
	}
	if err = registerFunctions(s.writer); err != nil {
		return nil, err
	}
	if err = s.load(ctx); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(s, o.Registerer)
	s.log.Info("store opened", "path", o.Path, "block", s.block.Load(), "events", s.count.events.Load(),
		"segments", len(s.index.Load().segments), "tail", len(s.tail.keys), "took", time.Since(start))
	return s, nil
}

// Check implements store.Store. It asks the file system and nobody else.
func (s *Store) Check(context.Context) error {
	if fault := s.fault.Load(); fault != nil {
		return *fault
	}
	now, err := os.Stat(s.options.Path)
	switch {
	case err != nil:
		return s.breakWith(fmt.Errorf("look at the store's file: %w", err))
	case !os.SameFile(s.file, now):
		return s.breakWith(errors.New("another file lies in place of the store's"))
	}
	return nil
}

// Close waits for running calls and background work, and closes the file. What
// was committed is in it. Closing twice is harmless.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.mu.Lock() // the processor is outside
	defer s.mu.Unlock()
	s.checkpoint.wait()
	s.merging.wait()
	s.calls.Lock() // the readers are outside
	defer s.calls.Unlock()
	s.metrics.unregister()
	if s.fault.Load() == nil && s.walBytes() > 0 {
		// So that the next start has no log to read.
		if _, err := s.writer.ExecContext(context.Background(), "CHECKPOINT "+catalog); err != nil {
			s.log.Warn("no checkpoint at the end, the next start reads the log instead", "err", err)
		}
	}
	if err := s.release(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	s.log.Info("store closed", "path", s.options.Path, "block", s.block.Load())
	return nil
}

// release gives the engine up.
func (s *Store) release() error {
	var errs []error
	if s.writer != nil {
		errs = append(errs, s.writer.Close())
	}
	errs = append(errs, s.db.Close())
	return errors.Join(errs...)
}

// errClosed answers calls after Close.
var errClosed = errors.New("store is closed")

// reading lets a reader in until it calls leave.
func (s *Store) reading() (leave func(), err error) {
	if fault := s.fault.Load(); fault != nil {
		return nil, *fault
	}
	s.calls.RLock()
	if s.closed.Load() {
		s.calls.RUnlock()
		return nil, errClosed
	}
	return s.calls.RUnlock, nil
}
