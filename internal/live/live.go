// Package live shows events to readers as they are stored.
//
// Every reader stands at a position of the journal and asks for what lies
// behind it: the newest events from a ring in memory that all readers share,
// anything older from the store. So a reader that was away, or slow, goes on
// where it stopped, without gap or repeat, and no queue grows for it.
package live

import (
	"bytes"
	"sort"
	"strings"
	"sync"

	"github.com/the-eye/eye/internal/event"
)

// The newest events are kept for readers: so many, and in so many bytes.
const (
	ringEvents = 8192
	ringBytes  = 32 << 20
)

// What one reader takes out of the ring at once.
const (
	takeEvents = 1000
	takeBytes  = 1 << 20
)

// Hub hands stored events to readers.
type Hub struct {
	mu      sync.Mutex
	ring    []event.Event  // guarded by mu; nil, or ringEvents long and used from start on, around its end
	start   int            // guarded by mu; index of the oldest
	count   int            // guarded by mu; events in the ring, in order of position
	bytes   int            // guarded by mu; sum of their sizes
	low     event.Position // guarded by mu; the ring holds all events behind low …
	high    event.Position // guarded by mu; … up to high
	readers int            // guarded by mu
	changed chan struct{}  // guarded by mu; closed when high moves
}

// NewHub makes a Hub.
func NewHub() *Hub { return &Hub{changed: make(chan struct{})} }

// Start says that everything up to p is in the store already: a reader that
// resumes from before it is served from there.
func (h *Hub) Start(p event.Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p > h.high {
		h.empty(p)
		h.high = p
		h.wake()
	}
}

// Publish tells readers of events that have just been stored. It keeps copies,
// and none at all while nobody reads.
func (h *Hub) Publish(events []event.Event) {
	if len(events) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.high = events[len(events)-1].Position
	if h.readers == 0 {
		h.empty(h.high)
		return
	}
	if skip := unkept(events); skip > 0 {
		h.empty(events[skip-1].Position)
		events = events[skip:]
	}
	if h.ring == nil {
		h.ring = make([]event.Event, ringEvents)
	}
	for i := range events {
		e := clone(&events[i])
		for h.count == ringEvents || h.count > 0 && h.bytes+size(&e) > ringBytes {
			h.drop()
		}
		h.ring[(h.start+h.count)%ringEvents] = e
		h.count++
		h.bytes += size(&e)
	}
	h.wake()
}

// unkept is how many of the events, which are the newest, would not stay in the
// ring.
func unkept(events []event.Event) int {
	bytes := 0
	for i := len(events) - 1; i >= 0; i-- {
		bytes += size(&events[i])
		if len(events)-i > ringEvents || bytes > ringBytes && i < len(events)-1 {
			return i + 1
		}
	}
	return 0
}

// drop forgets the oldest event of the ring.
func (h *Hub) drop() {
	oldest := &h.ring[h.start]
	h.low = oldest.Position
	h.bytes -= size(oldest)
	*oldest = event.Event{}
	h.start = (h.start + 1) % ringEvents
	h.count--
}

// empty forgets the ring: it holds what lies behind low, which is nothing yet.
func (h *Hub) empty(low event.Position) {
	h.ring, h.start, h.count, h.bytes, h.low = nil, 0, 0, 0, low
}

// wake tells readers that there is more.
func (h *Hub) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// size is about the memory that e takes.
func size(e *event.Event) int {
	return 256 + len(e.Application) + len(e.ID) + len(e.SessionID) + len(e.Category) + len(e.Name) + len(e.Data) + len(e.Violations)
}

// clone is e with memory of its own.
func clone(e *event.Event) event.Event {
	c := *e
	c.Application, c.ID, c.SessionID = strings.Clone(e.Application), strings.Clone(e.ID), strings.Clone(e.SessionID)
	c.Category, c.Name = strings.Clone(e.Category), strings.Clone(e.Name)
	c.Data, c.Violations = bytes.Clone(e.Data), bytes.Clone(e.Violations)
	return c
}

// join counts a reader in and returns the position of the newest event.
func (h *Hub) join() event.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers++
	return h.high
}

// leave counts a reader out.
func (h *Hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers--
}

// newest is the position up to which everything is in the store.
func (h *Hub) newest() event.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.high
}

// after appends to buf the first of the events behind p. reaches is false when
// the ring does not go back that far; then the store knows. changed is closed
// when there is more than the ring has now.
func (h *Hub) after(p event.Position, buf []event.Event) (events []event.Event, reaches bool, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p < h.low {
		return buf, false, h.changed
	}
	at := func(i int) *event.Event { return &h.ring[(h.start+i)%ringEvents] }
	taken := 0
	for i := sort.Search(h.count, func(i int) bool { return at(i).Position > p }); i < h.count; i++ {
		if len(buf) == takeEvents || taken > takeBytes {
			break
		}
		buf = append(buf, *at(i))
		taken += size(at(i))
	}
	return buf, true, h.changed
}
