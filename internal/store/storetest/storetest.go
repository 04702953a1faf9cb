// Package storetest is what every store.Store must pass, whatever engine is
// behind it: Run, and the Model that engines are held against.
package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// Open opens the store whose files lie in dir, and creates it when there is
// none. A store opened again has all that was committed.
type Open func(t *testing.T, dir string) store.Store

// Run holds the engine behind open against the contract. Engines that keep old
// and new events differently should be opened so that a few dozen events are
// enough to reach the old ones.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *fixture)
	}{
		{"an empty store answers every question", testEmpty},
		{"an event is read back as it was stored", testRoundTrip},
		{"a batch is there as a whole or not at all", testAtomic},
		{"blocks and positions only ascend", testAscend},
		{"a closed store has everything when opened again", testReopen},
		{"a key is found however long ago and across reopening", testExisting},
		{"events are in order whatever the order of arrival", testOrder},
		{"pages neither repeat nor skip while events arrive", testPages},
		{"filters select", testFilters},
		{"a payload path is compared by text", testPaths},
		{"sessions are summed up", testSessions},
		{"a restricted reader sees one application", testRestricted},
		{"every record has a disposition", testDispositions},
		{"quarantine keeps bytes and reasons", testQuarantine},
		{"the ledger sums up", testLedger},
		{"a feed resumes from a position", testSince},
		{"a cancelled question ends", testCancel},
		{"readers beside the writer never see half a batch", testConcurrent},
		{"any history gives the answers of the model", testModel},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := &fixture{T: t, open: open, dir: t.TempDir()}
			f.Store = open(t, f.dir)
			t.Cleanup(func() {
				if err := f.Close(); err != nil {
					t.Errorf("Close() = %v", err)
				}
			})
			test.run(t, f)
		})
	}
}

// fixture is a store, and the journal that feeds it.
type fixture struct {
	*testing.T
	store.Store
	open  Open
	dir   string
	block uint64
}

// base is when the tests happen: 2026-11-01T12:00:00Z.
const base = event.Micros(1_793_534_400_000_000)

const (
	second = event.Micros(1_000_000)
	minute = 60 * second
	hour   = 60 * minute
)

// reopen closes the store and opens it again.
func (f *fixture) reopen() {
	f.Helper()
	if err := f.Store.Close(); err != nil {
		f.Fatalf("Close() = %v", err)
	}
	f.Store = f.open(f.T, f.dir)
}

// make is an event at base that says little; set changes it.
func (f *fixture) make(id string, set func(*event.Event)) event.Event {
	e := event.Event{
		Application: "web-shop", ID: id, SessionID: "session", Category: "page interaction", Name: "cta click",
		Data: []byte(`{"id":"` + id + `"}`), Timestamp: base, Sequence: event.NoSequence, ReceivedAt: base + second,
	}
	if set != nil {
		set(&e)
	}
	return e
}

// append stores the events as one block, and gives them their positions.
func (f *fixture) append(events ...event.Event) []event.Event {
	f.Helper()
	f.block++
	for i := range events {
		events[i].Position = event.At(f.block, i)
	}
	f.commit(&store.Batch{Block: f.block, Events: events})
	return events
}

func (f *fixture) commit(b *store.Batch) {
	f.Helper()
	if err := f.Append(f.Context(), b); err != nil {
		f.Fatalf("Append(block %d) = %v", b.Block, err)
	}
}

// fill stores n blocks of ten events nobody asks for, to make what came before
// old.
func (f *fixture) fill(n int) {
	f.Helper()
	for range n {
		var events []event.Event
		for i := range 10 {
			id := fmt.Sprintf("filling-%d-%d", f.block, i)
			events = append(events, f.make(id, func(e *event.Event) {
				e.Application, e.SessionID, e.Category = "filler", id, "filling"
			}))
		}
		f.append(events...)
	}
}

// events asks, and fails on errors.
func (f *fixture) events(q store.EventQuery) []store.Row {
	f.Helper()
	q.Limit = cmp.Or(q.Limit, 1000)
	rows, err := f.Events(f.Context(), q)
	if err != nil {
		f.Fatalf("Events(%+v) = %v", q, err)
	}
	return rows
}

// expectIDs fails unless the rows are those events, in this order.
func (f *fixture) expectIDs(what string, rows []store.Row, want ...string) {
	f.Helper()
	var got []string
	for _, r := range rows {
		got = append(got, r.ID)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		f.Errorf("%s = %v; want %v", what, got, want)
	}
}

// equal is when values of the contract are: nil and empty are one, an engine
// words its messages as it likes, and long bytes are not searched for the
// smallest difference.
var equal = gocmp.Options{
	cmpopts.EquateEmpty(),
	cmpopts.IgnoreFields(event.Violation{}, "Message"),
	gocmp.FilterValues(func(a, b []byte) bool { return len(a) > 0 || len(b) > 0 }, gocmp.Comparer(bytes.Equal)),
}

// same fails unless got is want.
func same[V any](t *testing.T, what string, got, want V) {
	t.Helper()
	sameIn(t, what, got, want)
}

func sameIn[V any](t interface{ Errorf(string, ...any) }, what string, got, want V) {
	if diff := gocmp.Diff(want, got, equal); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

func testEmpty(t *testing.T, f *fixture) {
	ctx := t.Context()
	if block, err := f.CommittedBlock(ctx); block != 0 || err != nil {
		t.Errorf("CommittedBlock() = %d, %v; want 0", block, err)
	}
	if got, err := f.Existing(ctx, []event.Key{{Application: "a", ID: "b"}}); err != nil || len(got) != 1 || got[0] != (store.Original{}) {
		t.Errorf("Existing(unknown) = %v, %v; want one zero Original", got, err)
	}
	if got, err := f.Existing(ctx, nil); err != nil || len(got) != 0 {
		t.Errorf("Existing() = %v, %v; want nothing", got, err)
	}
	f.expectIDs("Events()", f.events(store.EventQuery{}))
	f.expectIDs("Events(session)", f.events(store.EventQuery{Filter: store.Filter{SessionID: "s"}}))
	if got, err := f.Sessions(ctx, store.SessionQuery{Limit: 10}); err != nil || len(got) != 0 {
		t.Errorf("Sessions() = %v, %v; want none", got, err)
	}
	if _, err := f.Event(ctx, event.Key{Application: "a", ID: "b"}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Event(unknown) = %v; want ErrNotFound", err)
	}
	if _, err := f.Session(ctx, "s", ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Session(unknown) = %v; want ErrNotFound", err)
	}
	if _, err := f.Refusal(ctx, event.At(1, 0)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Refusal(unknown) = %v; want ErrNotFound", err)
	}
	if got, err := f.Ledger(ctx, 0, math.MaxInt32); err != nil || len(got) != 0 {
		t.Errorf("Ledger() = %v, %v; want none", got, err)
	}
	if got, err := f.Size(ctx); err != nil || got.Events != 0 || got.Quarantined != 0 {
		t.Errorf("Size() = %+v, %v; want no events", got, err)
	}
	if err := f.Check(ctx); err != nil {
		t.Errorf("Check() = %v; want nil", err)
	}
	if err := f.Append(ctx, &store.Batch{Block: 7}); err != nil {
		t.Errorf("Append(empty batch) = %v", err)
	}
	if block, err := f.CommittedBlock(ctx); block != 7 || err != nil {
		t.Errorf("CommittedBlock() = %d, %v; want 7", block, err)
	}
}

func testRoundTrip(t *testing.T, f *fixture) {
	long := strings.Repeat("ü", event.MaxTextChars)
	events := []event.Event{
		f.make("plain", nil),
		f.make("server's facts", func(e *event.Event) {
			e.Sequence, e.SchemaVersion = 0, 3
			e.Violations = []byte(`[{"pointer":"/data/path","code":"schema","keyword":"type","message":"must be text"}]`)
		}),
		f.make(long, func(e *event.Event) {
			e.Application, e.SessionID, e.Category, e.Name = "other", long, long, long
			e.Timestamp, e.ReceivedAt, e.Sequence = 1, 2, math.MaxInt64
		}),
		f.make("before 1970", func(e *event.Event) { e.Timestamp = -62_135_596_800_000_000 }),
		f.make("far future", func(e *event.Event) { e.Timestamp = 253_402_300_799_999_999 }),
		f.make("nul\x00, quote ' and \" and \\ and % _ $1 ?", func(e *event.Event) { e.SessionID = "a\x00b'; DROP" }),
		f.make("numbers as sent", func(e *event.Event) {
			e.Data = []byte(`{"z":1.0,"a":1e2,"n":123456789012345678901234567890.10, "s":"\u00e9\u0000\n","d":{}}`)
		}),
		f.make("large", func(e *event.Event) { e.Data = []byte(`{"x":"` + strings.Repeat("é", 400_000) + `"}`) }),
	}
	events = f.append(events...)
	for round := range 3 {
		for _, e := range events {
			got, err := f.Event(t.Context(), e.Key())
			if err != nil {
				t.Fatalf("round %d: Event(%q) = %v", round, e.ID, err)
			}
			same(t, fmt.Sprintf("round %d: Event(%.20q)", round, e.ID), got.Event, e)
			rows := f.events(store.EventQuery{Filter: store.Filter{SessionID: e.SessionID, Application: e.Application, Category: e.Category, Name: e.Name}})
			found := false
			for _, r := range rows {
				found = found || r.ID == e.ID && gocmp.Equal(r.Event, e, equal)
			}
			if !found {
				t.Errorf("round %d: Events(of %.20q) does not have it", round, e.ID)
			}
		}
		switch round {
		case 0:
			f.fill(10) // now they are old
		case 1:
			f.reopen()
		}
	}
}

func testAtomic(t *testing.T, f *fixture) {
	f.append(f.make("first", nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := &store.Batch{
		Block:    2,
		Events:   []event.Event{f.make("second", func(e *event.Event) { e.Position = event.At(2, 0) })},
		Refusals: []event.Refusal{{Application: "web-shop", Position: event.At(2, 1), Violations: []event.Violation{{Code: event.Required}}}},
		Counts:   []store.Count{{Minute: base, Application: "web-shop", Received: 2, Stored: 1, Quarantined: 1}},
	}
	if err := f.Append(ctx, b); err == nil {
		t.Fatal("Append(cancelled) = nil; want an error")
	}
	if block, err := f.CommittedBlock(t.Context()); block != 1 || err != nil {
		t.Errorf("CommittedBlock() after a failed batch = %d, %v; want 1", block, err)
	}
	f.expectIDs("Events() after a failed batch", f.events(store.EventQuery{}), "first")
	f.commit(b)
	f.expectIDs("Events() after trying again", f.events(store.EventQuery{}), "first", "second")
	f.reopen()
	f.expectIDs("Events() after reopening", f.events(store.EventQuery{}), "first", "second")
	if size, err := f.Size(t.Context()); err != nil || size.Events != 2 || size.Quarantined != 1 || size.Bytes <= 0 {
		t.Errorf("Size() = %+v, %v; want 2 events, 1 quarantined, some bytes", size, err)
	}
}

func testAscend(t *testing.T, f *fixture) {
	f.append(f.make("a", nil))
	f.append(f.make("b", nil))
	for _, block := range []uint64{1, 2} {
		if err := f.Append(t.Context(), &store.Batch{Block: block}); err == nil {
			t.Errorf("Append(block %d) after block 2 = nil; want an error", block)
		}
	}
	f.reopen()
	if err := f.Append(t.Context(), &store.Batch{Block: 2}); err == nil {
		t.Error("Append(block 2) after block 2 and reopening = nil; want an error")
	}
	f.expectIDs("Events()", f.events(store.EventQuery{}), "a", "b")
}

func testReopen(t *testing.T, f *fixture) {
	f.append(f.make("a", nil))
	f.fill(10)
	f.append(f.make("b", nil))
	for range 2 {
		f.reopen()
		if block, err := f.CommittedBlock(t.Context()); block != f.block || err != nil {
			t.Errorf("CommittedBlock() = %d, %v; want %d", block, err, f.block)
		}
		f.expectIDs("Events(session)", f.events(store.EventQuery{Filter: store.Filter{SessionID: "session"}}), "a", "b")
		if size, err := f.Size(t.Context()); err != nil || size.Events != 102 {
			t.Errorf("Size() = %+v, %v; want 102 events", size, err)
		}
	}
	f.append(f.make("c", nil))
	f.expectIDs("Events(session)", f.events(store.EventQuery{Filter: store.Filter{SessionID: "session"}}), "a", "b", "c")
}

func testExisting(t *testing.T, f *fixture) {
	var known []event.Event
	check := func(when string) {
		t.Helper()
		keys := []event.Key{{Application: "web-shop", ID: "unknown"}, {Application: "unknown", ID: "key-0"}}
		want := make([]store.Original, len(keys))
		for _, e := range known {
			keys = append(keys, e.Key())
			want = append(want, store.Original{Position: e.Position, Digest: e.Digest()})
		}
		got, err := f.Existing(t.Context(), keys)
		if err != nil {
			t.Fatalf("%s: Existing() = %v", when, err)
		}
		same(t, when+": Existing()", got, want)
	}
	for i := range 12 {
		// Two applications may use one id.
		known = append(known, f.append(
			f.make(fmt.Sprintf("key-%d", i), nil),
			f.make(fmt.Sprintf("key-%d", i), func(e *event.Event) { e.Application, e.Sequence = "other", int64(i) }),
		)...)
		check("at once")
		f.fill(3)
		check("later")
		if i%4 == 3 {
			f.reopen()
			check("after reopening")
			check("asked twice")
		}
	}
}
