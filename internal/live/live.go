// Package live shows events to readers as they are stored.
//
// Every reader stands at a position of the journal and asks for what lies
// behind it: the newest events from a ring in memory that all readers share,
// anything older from the store. So a reader that was away, or slow, goes on
// where it stopped, without gap or repeat, and no queue grows for it.
package live

import (
	"bytes"
	"strings"
	"sync"

	"github.com/the-eye/eye/internal/event"
)

// ringEvents is how many of the newest events are kept for readers.
const ringEvents = 8192

// Hub hands stored events to readers.
type Hub struct {
	mu      sync.Mutex
	ring    []event.Event  // guarded by mu; in order of position, the oldest at start
	start   int            // guarded by mu; index of the oldest once the ring is full
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
		h.ring, h.start, h.low, h.high = h.ring[:0], 0, p, p
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
		h.ring, h.start, h.low = h.ring[:0], 0, h.high
		return
	}
	if skip := len(events) - ringEvents; skip > 0 {
		h.ring, h.start, h.low = h.ring[:0], 0, events[skip-1].Position
		events = events[skip:]
	}
	for i := range events {
		e := clone(&events[i])
		if len(h.ring) < ringEvents {
			h.ring = append(h.ring, e)
			continue
		}
		h.low = h.ring[h.start].Position
		h.ring[h.start] = e
		h.start = (h.start + 1) % ringEvents
	}
	close(h.changed)
	h.changed = make(chan struct{})
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

// after appends to buf the events behind p. reaches is false when the ring does
// not go back that far; then the store knows. changed is closed when there is
// more.
func (h *Hub) after(p event.Position, buf []event.Event) (events []event.Event, reaches bool, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p < h.low {
		return buf, false, h.changed
	}
	for i := range h.ring {
		e := &h.ring[(h.start+i)%len(h.ring)]
		if e.Position > p {
			buf = append(buf, *e)
		}
	}
	return buf, true, h.changed
}
