package duckdb

import (
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// tail is what is known in memory about the events behind the last segment.
// Only the processor's calls touch it.
type tail struct {
	// byKey has the digest 0 for events read back at start, until somebody asks.
	byKey       map[event.Hash]store.Original
	keys        []uint64       // idKey of each event, in order of position
	first, last event.Position // of the events in it
}

func newTail() *tail { return &tail{byKey: make(map[event.Hash]store.Original)} }

// add notes one event.
func (t *tail) add(h event.Hash, o store.Original) {
	if len(t.keys) == 0 {
		t.first = o.Position
	}
	t.byKey[h] = o
	t.keys = append(t.keys, idKey(h))
	t.last = o.Position
}

// clear empties the tail and keeps its map for the next one.
func (t *tail) clear() {
	clear(t.byKey)
	t.keys = make([]uint64, 0, len(t.keys)) // the old ones belong to the filter now
}
