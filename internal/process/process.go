// Package process carries events from the journal into the store, each exactly
// once.
//
//	journal ─▶ read, decode ─▶ gather ─▶ settle (drop duplicates, count) ─▶ store
//
// One Processor runs at a time. It takes whole blocks in journal order and
// hands the store their outcome together with the number of the last block, in
// one transaction. Where it stopped is therefore what the store says, whatever
// died when; a block that was read twice is stored once.
//
// When the store is slow the processor is slow, and the journal holds what is
// waiting: nothing here queues more than a batch. When the store fails the
// processor tries again, with back-off, and says so in Health.
package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/journal"
	"github.com/the-eye/eye/internal/store"
)

// Journal is where blocks come from.
type Journal interface {
	Read(ctx context.Context, after uint64) (*journal.Reader, error)
	State(ctx context.Context) (journal.State, error)
	// Trim lets go of committed blocks past their retention.
	Trim(ctx context.Context, committed uint64) error
}

// Options of a Processor. All but Publish and Registerer are needed.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Journal    Journal

	// Open opens the store. It is called again after the store broke.
	Open func(context.Context) (store.Store, error)

	// Publish is told of events that have just been stored, in journal order.
	// It must be quick and must not keep them.
	Publish func([]event.Event)

	// Interval is the least time between two transactions, unless a batch is
	// full or somebody waits: it trades the delay until an event is readable
	// against work for the store.
	Interval time.Duration

	// BatchEvents and BatchBytes bound what one transaction stores, give or
	// take the last block.
	BatchEvents int
	BatchBytes  int
}

// ErrJournalBehind: the journal ends before what the store has seen of it. Any
// event taken now would be skipped in silence, so nothing may be taken.
var ErrJournalBehind = errors.New("the journal is older than the store")

// ErrGap: blocks that the store has not seen are no longer in the journal.
var ErrGap = errors.New("the journal no longer holds blocks that the store has not seen")

// Processor is the one writer of the store.
type Processor struct {
	o       Options
	keeper  keeper
	metrics *metrics

	committed atomic.Uint64 // last block in the store
	hurry     chan struct{} // somebody waits: do not gather longer
	tried     chan struct{} // closed when the store has been opened, or has failed to

	mu      sync.Mutex
	moved   chan struct{} // guarded by mu; closed when committed moves
	failure error         // guarded by mu; why processing stands still
}

// New makes a Processor; Run does its work.
func New(o Options) *Processor {
	p := &Processor{
		o: o, hurry: make(chan struct{}, 1), tried: make(chan struct{}), moved: make(chan struct{}),
		failure: errors.New("the store is being opened"),
	}
	p.metrics = newMetrics(o.Registerer, p)
	return p
}

// Back-off between attempts after a failure.
const (
	firstPause = 100 * time.Millisecond
	longPause  = 10 * time.Second
)

// Run processes until ctx is done, then closes the store. It returns early only
// with ErrJournalBehind, which no waiting can mend.
func (p *Processor) Run(ctx context.Context) error {
	defer p.keeper.close(p.o.Log)
	pause := firstPause
	for {
		before := p.committed.Load()
		err := p.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		p.note(err)
		if errors.Is(err, ErrJournalBehind) {
			return err
		}
		if p.committed.Load() > before {
			pause = firstPause
		}
		p.o.Log.Warn("processing stands still and will be tried again", "err", err, "in", pause)
		p.metrics.failures.Inc()
		if errors.Is(err, store.ErrBroken) {
			p.keeper.close(p.o.Log)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, longPause)
	}
}

// follow processes from where the store stopped until something fails.
func (p *Processor) follow(ctx context.Context) error {
	st, err := p.keeper.open(ctx, p.o.Open)
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	after, err := st.CommittedBlock(ctx)
	if err != nil {
		return fmt.Errorf("ask the store where it stopped: %w", err)
	}
	state, err := p.o.Journal.State(ctx)
	if err != nil {
		return fmt.Errorf("ask the journal for its state: %w", err)
	}
	switch {
	case state.Last < after:
		return fmt.Errorf("%w: it ends at block %d, the store has seen %d; restore the journal that belongs to this store, or move the store away",
			ErrJournalBehind, state.Last, after)
	case state.Last > after && state.First > after+1:
		return fmt.Errorf("%w: it starts at block %d, the store has seen %d; restore the store that belongs to this journal",
			ErrGap, state.First, after)
	}
	p.move(after)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	blocks := make(chan *decoded, 2) // what is decoded while the store is busy
	var read error
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(blocks)
		read = p.read(ctx, after, blocks)
	})
	err = p.write(ctx, st, blocks)
	cancel()
	for d := range blocks { // let the reader out of a send
		d.block.Release()
	}
	reader.Wait()
	return errors.Join(err, read)
}

// write stores batches until ctx is done or something fails.
func (p *Processor) write(ctx context.Context, st store.Store, blocks <-chan *decoded) error {
	check := time.NewTicker(time.Second)
	defer check.Stop()
	var last time.Time // of the transaction before
	var b batch
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-check.C:
			if err := st.Check(ctx); err != nil {
				return fmt.Errorf("check store: %w", err)
			}
			p.trim(ctx)
			continue
		case d, ok := <-blocks:
			if !ok {
				return nil // the reader knows why
			}
			b.add(d)
		}
		p.gather(ctx, &b, blocks, last.Add(p.o.Interval))
		err := p.commit(ctx, st, &b)
		b.release()
		if err != nil {
			return err
		}
		last = time.Now()
	}
}

// gather adds blocks to the batch until it is full, or until there are no more
// and the deadline has passed or somebody waits. A processor that is behind
// fills every batch: the store takes few large ones for less than many small.
func (p *Processor) gather(ctx context.Context, b *batch, blocks <-chan *decoded, deadline time.Time) {
	started := time.Now()
	for b.events < p.o.BatchEvents && b.bytes < p.o.BatchBytes {
		select {
		case d, ok := <-blocks:
			if !ok {
				return
			}
			b.add(d)
			continue
		default:
		}
		until := deadline
		if b.behind {
			until = started.Add(fillPatience)
		}
		wait := time.Until(until)
		if wait <= 0 {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case d, ok := <-blocks:
			timer.Stop()
			if !ok {
				return
			}
			b.add(d)
		case <-p.hurry:
			timer.Stop()
			if !b.behind {
				deadline = time.Time{}
			}
		case <-timer.C:
			return
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// fillPatience is how long a processor that is behind waits for its next block,
// which is on its way, rather than store less than a full batch.
const fillPatience = 250 * time.Millisecond

// commit stores the outcome of the batch and tells who waits for it.
func (p *Processor) commit(ctx context.Context, st store.Store, b *batch) error {
	start := time.Now()
	out, err := settle(ctx, st, b)
	if err != nil {
		return fmt.Errorf("look for duplicates in blocks %d to %d: %w", b.first, b.last, err)
	}
	if err := st.Append(ctx, out); err != nil {
		return fmt.Errorf("store blocks %d to %d: %w", b.first, b.last, err)
	}
	p.move(out.Block)
	p.metrics.stored(out, time.Since(start))
	p.o.Log.Debug("stored", "block", out.Block, "events", len(out.Events),
		"duplicates", len(out.Duplicates), "refusals", len(out.Refusals), "took", time.Since(start))
	if p.o.Publish != nil && len(out.Events) > 0 {
		p.o.Publish(out.Events)
	}
	return nil
}

// trim lets the journal let go of what is stored. Failing to is no reason to
// stop: a journal that fills up says so itself.
func (p *Processor) trim(ctx context.Context) {
	if err := p.o.Journal.Trim(ctx, p.committed.Load()); err != nil && ctx.Err() == nil {
		p.o.Log.Warn("the journal could not be trimmed", "err", err)
	}
}

// move notes that the store has seen block, and wakes who waits for that.
func (p *Processor) move(block uint64) {
	p.committed.Store(block)
	p.note(nil)
}

// note says how processing goes, and wakes who waits for news.
func (p *Processor) note(failure error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failure = failure; p.failure == nil {
		close(p.moved)
		p.moved = make(chan struct{})
	}
	select {
	case <-p.tried:
	default:
		close(p.tried)
	}
}

// Tried is closed once the store has been opened and found to belong to the
// journal, or has failed to for the first time.
func (p *Processor) Tried() <-chan struct{} { return p.tried }

// Committed is the last block whose every record has its final disposition.
func (p *Processor) Committed() uint64 { return p.committed.Load() }

// Health is nil while processing works, else why it stands still.
func (p *Processor) Health() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

// Await returns when the record at position has its final disposition.
func (p *Processor) Await(ctx context.Context, position event.Position) error {
	for {
		p.mu.Lock()
		moved := p.moved
		p.mu.Unlock()
		if p.committed.Load() >= position.Block() {
			return nil
		}
		select {
		case p.hurry <- struct{}{}:
		default:
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Dispositions are those of the records from first to last, which must have been
// processed.
func (p *Processor) Dispositions(ctx context.Context, first, last event.Position) ([]event.Disposition, error) {
	st, err := p.Reader()
	if err != nil {
		return nil, err
	}
	fates, err := st.Dispositions(ctx, first, last)
	if err != nil {
		return nil, fmt.Errorf("ask the store for dispositions: %w", err)
	}
	out := make([]event.Disposition, last-first+1)
	for i := range out {
		out[i] = event.Stored
	}
	for _, f := range fates {
		out[f.Position-first] = f.Disposition
	}
	return out, nil
}

// Reader is the store for reading, or an error while there is none.
func (p *Processor) Reader() (store.Reader, error) { return p.keeper.current() }
