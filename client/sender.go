package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// SenderOptions of a Sender. Every zero field has a default that is fine for
// most programs.
type SenderOptions struct {
	// The queue holds events that the server has not yet accepted, those under
	// way included: at most QueueEvents (0: 10,000) of together at most
	// QueueBytes (0: 64 MiB).
	QueueEvents int
	QueueBytes  int64

	// DropWhenFull makes Send return ErrQueueFull at once when the queue is
	// full. Otherwise Send waits for room until its context ends.
	DropWhenFull bool

	// A request is sent as soon as it has BatchEvents (0: 500) or BatchBytes
	// (0: 1 MiB) together, or when its first event has waited BatchDelay
	// (0: 100 ms; < 0: not at all).
	BatchEvents int
	BatchBytes  int
	BatchDelay  time.Duration

	// Workers is the number of requests under way at a time. 0: 1, which keeps
	// events in the order of Send. With more, events of the same timestamp and
	// without Sequence may change places.
	Workers int

	// GiveUpAfter is how long a batch is repeated before its events are
	// dropped. 0: as long as it takes; the queue bounds what that costs.
	GiveUpAfter time.Duration

	// The callbacks run on the workers: sending waits until they return, and
	// they must not call Close. Data of an event is a json.RawMessage there.
	//
	// OnRefused is told every event that the server has put into quarantine.
	// OnDropped is told every event that was queued and is given up; err says why.
	// OnRetry is told every failure after which the request is repeated.
	OnRefused func(e Event, receipt string, why []Violation)
	OnDropped func(e Event, err error)
	OnRetry   func(err error, pause time.Duration)
}

// withDefaults fills in the zero fields.
func (o SenderOptions) withDefaults() SenderOptions {
	set := func(n *int, to int) {
		if *n <= 0 {
			*n = to
		}
	}
	set(&o.QueueEvents, 10_000)
	set(&o.BatchEvents, 500)
	set(&o.BatchBytes, 1<<20)
	set(&o.Workers, 1)
	if o.QueueBytes <= 0 {
		o.QueueBytes = 64 << 20
	}
	if o.BatchDelay == 0 {
		o.BatchDelay = 100 * time.Millisecond
	}
	return o
}

// What Send and OnDropped say.
var (
	ErrQueueFull = errors.New("the queue is full: events come faster than the server takes them, or it cannot be reached")
	ErrClosed    = errors.New("the sender is closed")
	ErrTooLarge  = errors.New("the event is larger than the whole queue may be")
)

// Sender takes events and sends them in the background, in batches. It is safe
// for concurrent use.
type Sender struct {
	client *Client
	opts   SenderOptions
	counts counts

	// Room in the queue: an event holds its part from Send until it is settled.
	// Since the channel has the capacity of events, sending into it never blocks.
	events *semaphore.Weighted
	bytes  *semaphore.Weighted
	items  chan item

	mu     sync.RWMutex // held for reading while an event goes into items
	closed bool         // guarded by mu

	waiting     context.Context // ends when Close begins, for those who wait for room
	stopWaiting context.CancelFunc

	running context.Context // ends when Close runs out of time, for the workers
	abort   context.CancelFunc
	done    chan struct{} // closed when the workers have ended
}

// item is an event in the queue.
type item struct {
	event Event // with Data encoded
	line  []byte
	room  int64 // of QueueBytes
	at    time.Time
}

// itemRoom is what an event costs in memory besides its line.
const itemRoom = 256

// NewSender starts a Sender. Its workers run until Close.
func (c *Client) NewSender(o SenderOptions) *Sender {
	o = o.withDefaults()
	s := &Sender{
		client: c,
		opts:   o,
		events: semaphore.NewWeighted(int64(o.QueueEvents)),
		bytes:  semaphore.NewWeighted(o.QueueBytes),
		items:  make(chan item, o.QueueEvents),
		done:   make(chan struct{}),
	}
	s.waiting, s.stopWaiting = context.WithCancel(context.Background())
	s.running, s.abort = context.WithCancel(context.Background())
	var workers sync.WaitGroup
	for range o.Workers {
		workers.Go(s.work)
	}
	go func() {
		workers.Wait()
		close(s.done)
	}()
	return s
}

// Send puts the event into the queue and returns: nil means queued, not yet
// accepted. It encodes the event before, so that the caller may go on changing
// what Data refers to.
//
// When the queue is full Send waits for room until ctx ends, or returns
// ErrQueueFull at once with DropWhenFull. On error the event was not queued,
// and is counted as dropped.
func (s *Sender) Send(ctx context.Context, e Event) error {
	e.complete()
	line, err := e.encode()
	if err != nil {
		s.counts.add(func(n *Stats) { n.Dropped.Invalid++ })
		return fmt.Errorf("send event: %w", err)
	}
	it := item{event: e, line: line, room: int64(len(line)) + itemRoom, at: time.Now()}
	if it.room > s.opts.QueueBytes {
		s.counts.add(func(n *Stats) { n.Dropped.Invalid++ })
		return fmt.Errorf("send event: %w", ErrTooLarge)
	}
	if err := s.reserve(ctx, it.room); err != nil {
		return fmt.Errorf("send event: %w", err)
	}

	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		s.release(it.room)
		s.counts.add(func(n *Stats) { n.Dropped.Closed++ })
		return fmt.Errorf("send event: %w", ErrClosed)
	}
	s.counts.add(func(n *Stats) { n.Queued++ })
	s.items <- it
	return nil
}

// reserve takes room for one event, and counts the event that gets none.
func (s *Sender) reserve(ctx context.Context, room int64) error {
	if s.events.TryAcquire(1) {
		if s.bytes.TryAcquire(room) {
			return nil
		}
		s.events.Release(1)
	}
	switch {
	case s.waiting.Err() != nil:
		s.counts.add(func(n *Stats) { n.Dropped.Closed++ })
		return ErrClosed
	case s.opts.DropWhenFull:
		s.counts.add(func(n *Stats) { n.Dropped.QueueFull++ })
		return ErrQueueFull
	}

	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.waiting, cancel)()
	err := s.events.Acquire(wait, 1)
	if err == nil {
		if err = s.bytes.Acquire(wait, room); err == nil {
			return nil
		}
		s.events.Release(1)
	}
	if s.waiting.Err() != nil {
		s.counts.add(func(n *Stats) { n.Dropped.Closed++ })
		return ErrClosed
	}
	s.counts.add(func(n *Stats) { n.Dropped.QueueFull++ })
	return fmt.Errorf("%w: %w", ErrQueueFull, context.Cause(ctx))
}

// release gives the room of a settled event back.
func (s *Sender) release(room int64) {
	s.bytes.Release(room)
	s.events.Release(1)
}

// Close takes no more events, sends what is queued and ends the workers. When
// ctx ends before, what is left is dropped and Close returns an error that
// says how much; a request cut short may still have arrived. Close may be
// called again, and then waits likewise.
func (s *Sender) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.items)
		s.stopWaiting()
	}
	s.mu.Unlock()

	select {
	case <-s.done:
		s.abort()
		return nil
	case <-ctx.Done():
	}
	before := s.counts.cutShort()
	s.abort()
	<-s.done
	if lost := s.counts.cutShort() - before; lost > 0 {
		return fmt.Errorf("close sender: %d events were not sent: %w", lost, context.Cause(ctx))
	}
	return nil
}
