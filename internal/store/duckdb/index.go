package duckdb

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/FastFilter/xorfilter"

	"github.com/the-eye/eye/internal/event"
)

// fan is how many filters of one level make one of the next, and topLevel where
// that ends: 262,144 × 4 × 4, about 4 million keys. 300 million events then have
// some 70 filters of the top level, and at most 6 below it.
const (
	fan      = 4
	topLevel = 2
)

type (
	// fuse tells members from strangers with one error in 65,536 strangers, at
	// about 2.3 bytes a member; smallFuse with one in 256, at half of that.
	fuse      = xorfilter.BinaryFuse[uint16]
	smallFuse = xorfilter.BinaryFuse[uint8]
)

// index is what is known in memory about the sealed part of events. It never
// changes; a new one takes its place.
//
// A key is first held against filters, which cover many segments each, so that
// an unknown key costs a dozen probes. Where a filter says yes, the small
// filters of its segments say which of them to read: together one error in
// 16 million strangers costs a look at a single segment.
type index struct {
	sealed   event.Position // the last position of the last segment
	segments []*segment     // ascending, covering everything up to sealed
	filters  []*filter      // ascending, covering everything up to sealed
}

// segment is a stretch of the journal's order.
type segment struct {
	first, last event.Position // of the events in it
	events      int64
	sessions    *fuse
	ids         *smallFuse
}

// filter is over the keys of all events from first to last.
type filter struct {
	level       int
	first, last event.Position
	ids         *fuse
	// keys are what the filter was made of, to merge it. nil at the top level,
	// and after a restart, when they have to be read from the events again.
	keys []uint64
}

// sessionKey stands for a session id in filters and in the column session_key,
// which the engine searches ten times faster than the text. SHA-256 because a
// client chooses the ids: nobody can make one that collides with another's.
func sessionKey(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.LittleEndian.Uint64(sum[:8])
}

// idKey stands for an event's key in filters.
func idKey(h event.Hash) uint64 { return h[0] }

// span is a range of positions, both ends included.
type span struct{ first, last event.Position }

// everything is the span of all positions; the largest BIGINT is its end.
var everything = span{0, 1<<63 - 1}

// spans where events of any of the sessions may lie, the tail included.
func (x *index) spans(sessions ...string) []span {
	keys := make([]uint64, len(sessions))
	for i, id := range sessions {
		keys[i] = sessionKey(id)
	}
	var found []span
	for _, g := range x.segments {
		if slices.ContainsFunc(keys, g.sessions.Contains) {
			found = append(found, span{g.first, g.last})
		}
	}
	return append(found, x.tail())
}

// covered says whether the filters cover the segments, each once.
func (x *index) covered() bool {
	segments := x.segments
	for _, f := range x.filters {
		if len(segments) == 0 || segments[0].first != f.first {
			return false
		}
		i := slices.IndexFunc(segments, func(g *segment) bool { return g.last == f.last })
		if i < 0 {
			return false
		}
		segments = segments[i+1:]
	}
	return len(segments) == 0
}

// tail is the span of what is not sealed.
func (x *index) tail() span { return span{x.sealed + 1, everything.last} }

// candidates are the spans of the segments that may hold the key.
func (x *index) candidates(h event.Hash) []span {
	var found []span
	for _, f := range x.filters {
		if f.ids.Contains(idKey(h)) {
			for _, g := range x.within(f, h) {
				found = append(found, span{g.first, g.last})
			}
		}
	}
	return found
}

// within are the segments of the filter that may hold the key.
func (x *index) within(f *filter, h event.Hash) []*segment {
	var found []*segment
	for _, g := range x.segments[x.segmentAt(f.first):] {
		if g.first > f.last {
			break
		}
		if g.ids.Contains(idKey(h)) {
			found = append(found, g)
		}
	}
	return found
}

// segmentAt is the index of the segment that holds p: the first one that does
// not end before it.
func (x *index) segmentAt(p event.Position) int {
	i, _ := slices.BinarySearchFunc(x.segments, p, func(g *segment, p event.Position) int {
		if g.last < p {
			return -1
		}
		return 1
	})
	return i
}

// mergeable are fan neighbouring filters of one level below the top, or nil.
func (x *index) mergeable() []*filter {
	run := 0
	for i, f := range x.filters {
		if run == 0 || x.filters[i-1].level != f.level {
			run = 0
		}
		run++
		if run == fan && f.level < topLevel {
			return x.filters[i+1-fan : i+1]
		}
	}
	return nil
}

// with is the index after one more segment.
func (x *index) with(g *segment, f *filter) *index {
	return &index{
		sealed:   g.last,
		segments: append(slices.Clip(x.segments), g),
		filters:  append(slices.Clip(x.filters), f),
	}
}

// merged is the index in which f stands for the filters that it covers.
func (x *index) merged(f *filter) *index {
	filters := make([]*filter, 0, len(x.filters))
	for _, old := range x.filters {
		switch {
		case old.last < f.first || old.first > f.last:
			filters = append(filters, old)
		case old.first == f.first:
			filters = append(filters, f)
		}
	}
	return &index{sealed: x.sealed, segments: x.segments, filters: filters}
}

// bytes of memory, keys included.
func (x *index) bytes() int64 {
	var n int
	for _, g := range x.segments {
		n += 2*len(g.sessions.Fingerprints) + len(g.ids.Fingerprints)
	}
	for _, f := range x.filters {
		n += 2*len(f.ids.Fingerprints) + 8*len(f.keys)
	}
	return int64(n)
}

// newFuse makes a filter of the keys, of which it may reorder and drop
// repeated ones.
func newFuse[T xorfilter.Unsigned](keys []uint64) (*xorfilter.BinaryFuse[T], error) {
	f, err := xorfilter.NewBinaryFuse[T](keys)
	if err != nil {
		return nil, fmt.Errorf("build a filter of %d keys: %w", len(keys), err)
	}
	return f, nil
}

func saveFuse[T xorfilter.Unsigned](f *xorfilter.BinaryFuse[T]) ([]byte, error) {
	var b bytes.Buffer
	if err := f.Save(&b); err != nil {
		return nil, fmt.Errorf("save filter: %w", err)
	}
	return b.Bytes(), nil
}

func loadFuse[T xorfilter.Unsigned](b []byte) (*xorfilter.BinaryFuse[T], error) {
	f, err := xorfilter.LoadBinaryFuse[T](bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("load filter: %w", err)
	}
	return f, nil
}
