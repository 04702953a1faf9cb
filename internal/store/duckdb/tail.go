package duckdb

import (
	"sync"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// tail is what is known in memory about the events behind the last segment.
// Only the processor's calls change it; readers may ask where an event is.
type tail struct {
	mu sync.RWMutex
	// byKey has the digest 0 for events read back at start, until somebody asks.
	byKey       map[event.Hash]store.Original // guarded by mu, but for reading by the processor's calls
	keys        []uint64                      // idKey of each event, in order of position
	first, last event.Position                // of the events in it
}

func newTail() *tail { return &tail{byKey: make(map[event.Hash]store.Original)} }

// add notes one event; the caller holds mu.
func (t *tail) add(h event.Hash, o store.Original) {
	if len(t.keys) == 0 {
		t.first = o.Position
	}
	t.byKey[h] = o
	t.keys = append(t.keys, idKey(h))
	t.last = o.Position
}

// position of the event with the key, 0 when it is not in the tail. A reader
// asks here before it looks at the index: what is sealed in between is then in
// the index.
func (t *tail) position(h event.Hash) event.Position {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byKey[h].Position
}

// clear empties the tail and keeps its map for the next one.
func (t *tail) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.byKey)
	t.keys = make([]uint64, 0, len(t.keys)) // the old ones belong to the filter now
}
