package duckdb

import (
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// tail is what is known in memory about the events behind the last segment.
// Only the processor's calls touch it.
type tail struct {
	byKey       map[event.Hash]tailEntry
	keys        []uint64            // idKey of each event, in order of position
	sessions    map[uint64]struct{} // sessionKey of each event
	first, last event.Position      // of the events in it
	firstTime   event.Micros
	lastTime    event.Micros
}

// tailEntry is an event of the tail. After a restart its digest is not known
// until somebody asks.
type tailEntry struct {
	store.Original
	digested bool
}

func newTail() *tail {
	return &tail{byKey: make(map[event.Hash]tailEntry), sessions: make(map[uint64]struct{})}
}

// add notes one event.
func (t *tail) add(e *event.Event, o tailEntry) {
	h := e.Key().Hash()
	if len(t.keys) == 0 {
		t.first, t.firstTime, t.lastTime = e.Position, e.Timestamp, e.Timestamp
	}
	t.byKey[h] = o
	t.keys = append(t.keys, idKey(h))
	t.sessions[sessionKey(e.SessionID)] = struct{}{}
	t.last = e.Position
	t.firstTime = min(t.firstTime, e.Timestamp)
	t.lastTime = max(t.lastTime, e.Timestamp)
}

// clear empties the tail and keeps its memory for the next one.
func (t *tail) clear() {
	clear(t.byKey)
	clear(t.sessions)
	t.keys = nil // they belong to the filter now
}
