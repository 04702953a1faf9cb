package duckdb

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// TestIndex grows an index segment by segment and merges as maintenance would:
// it always covers everything, and finds every key and session in its segment.
func TestIndex(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	x := new(index)
	type known struct {
		hash    event.Hash
		session string
		segment int
	}
	var all []known
	for n := range 70 {
		tl := newTail()
		var sessions []uint64
		for i := range 20 {
			k := known{event.Hash{random.Uint64(), random.Uint64()}, fmt.Sprint("session ", random.Uint64()), n}
			tl.add(k.hash, store.Original{Position: event.At(uint64(n+1), i)})
			sessions = append(sessions, sessionKey(k.session))
			all = append(all, k)
		}
		g, f, err := tl.segment(sessions)
		if err != nil {
			t.Fatal(err)
		}
		x = x.with(g, f)
		for parts := x.mergeable(); parts != nil; parts = x.mergeable() {
			merged := &filter{level: parts[0].level + 1, first: parts[0].first, last: parts[len(parts)-1].last}
			var keys []uint64
			for _, part := range parts {
				keys = append(keys, part.keys...)
			}
			merged.keys = slices.Clone(keys)
			if merged.ids, err = newFuse[uint16](keys); err != nil {
				t.Fatal(err)
			}
			x = x.merged(merged)
		}
		if !x.covered() {
			t.Fatalf("after segment %d the filters do not cover the segments", n)
		}
		if bottom := 2 * (fan - 1); len(x.filters) > bottom+n/(fan*fan)+1 {
			t.Errorf("after segment %d there are %d filters", n, len(x.filters))
		}
	}
	for _, k := range all {
		g := x.segments[k.segment]
		want := span{g.first, g.last}
		if !slices.Contains(x.candidates(k.hash), want) {
			t.Fatalf("a key of segment %d is not found there", k.segment)
		}
		if !slices.Contains(x.spans(k.session), want) {
			t.Fatalf("a session of segment %d is not found there", k.segment)
		}
	}
	var wrong int
	for range 10_000 {
		wrong += len(x.candidates(event.Hash{random.Uint64(), random.Uint64()}))
	}
	if wrong > 3 {
		t.Errorf("%d of 10,000 strangers are taken for known", wrong)
	}
	gap := &index{segments: x.segments, filters: x.filters[1:]}
	if gap.covered() {
		t.Error("covered() without the first filter = true; want false")
	}
}

func TestFewer(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var spans []span
		p := event.Position(0)
		for range rapid.IntRange(1, 30).Draw(t, "spans") {
			first := p + event.Position(rapid.IntRange(1, 9).Draw(t, "gap"))
			p = first + event.Position(rapid.IntRange(0, 9).Draw(t, "length"))
			spans = append(spans, span{first, p})
		}
		n := rapid.IntRange(1, 10).Draw(t, "n")
		got := fewer(slices.Clone(spans), n)
		if len(got) > max(n, 1) && len(spans) > n {
			t.Errorf("fewer(%v, %d) = %v", spans, n, got)
		}
		for i, s := range got {
			if s.first > s.last || i > 0 && got[i-1].last >= s.first {
				t.Errorf("fewer(%v, %d) = %v, not ascending", spans, n, got)
			}
		}
		for _, s := range spans {
			if !slices.ContainsFunc(got, func(g span) bool { return g.first <= s.first && s.last <= g.last }) {
				t.Errorf("fewer(%v, %d) = %v, without %v", spans, n, got, s)
			}
		}
	})
}

func TestClusters(t *testing.T) {
	t.Parallel()
	x := &index{sealed: 10_000, segments: []*segment{{first: 1, last: 10_000, events: 10_000}}}
	got := x.clusters([]event.Position{1, 2, 2000, 9000, 9999, 1_000_000})
	want := []cluster{{1, 2, 2000}, {9000, 9999}, {1_000_000}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("clusters = %v; want %v", got, want)
	}
	if got := (cluster{7}).String(); got != "position = 7" {
		t.Errorf("cluster of one = %q", got)
	}
	if got := (cluster{7, 9}).String(); got != "position BETWEEN 7 AND 9 AND position IN (7,9)" {
		t.Errorf("cluster of two = %q", got)
	}
}
