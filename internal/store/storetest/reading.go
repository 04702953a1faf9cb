package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

func testOrder(t *testing.T, f *fixture) {
	at := func(id string, ts event.Micros, sequence int64) event.Event {
		return f.make(id, func(e *event.Event) { e.Timestamp, e.Sequence = ts, sequence })
	}
	expect := func(when string, want ...string) {
		t.Helper()
		q := store.EventQuery{Filter: store.Filter{SessionID: "session"}}
		rows := f.events(q)
		f.expectIDs(when+": Events(session)", rows, want...)
		for i, r := range rows {
			if r.Place != int64(i+1) {
				t.Errorf("%s: place of %s = %d; want %d", when, r.ID, r.Place, i+1)
			}
		}
		q.Descending = true
		rows = f.events(q)
		slices.Reverse(want)
		f.expectIDs(when+": Events(session, descending)", rows, want...)
		for i, r := range rows {
			if r.Place != int64(len(rows)-i) {
				t.Errorf("%s, descending: place of %s = %d; want %d", when, r.ID, r.Place, len(rows)-i)
			}
		}
	}
	f.append(at("c", base+second, 7), at("b", base+second, event.NoSequence), at("d", base+2*second, 0))
	expect("as sent", "b", "c", "d")
	f.fill(10)
	f.append(at("late", base-hour, 100), at("between", base+second, 3), at("tie 1", base+second, 7), at("tie 2", base+second, 7))
	expect("with late ones", "late", "b", "between", "c", "tie 1", "tie 2", "d")
	f.fill(10)
	f.append(at("oldest", 1, 0), at("ahead", base+hour, 0))
	expect("with very late ones", "oldest", "late", "b", "between", "c", "tie 1", "tie 2", "d", "ahead")
	f.reopen()
	expect("after reopening", "oldest", "late", "b", "between", "c", "tie 1", "tie 2", "d", "ahead")

	rows := f.events(store.EventQuery{Filter: store.Filter{Category: "page interaction"}, Limit: 2, Descending: true})
	f.expectIDs("Events(category, newest two)", rows, "ahead", "d")
	if rows[0].Place != 9 || rows[1].Place != 8 {
		t.Errorf("places = %d, %d; want 9, 8", rows[0].Place, rows[1].Place)
	}
	row, err := f.Event(t.Context(), event.Key{Application: "web-shop", ID: "tie 1"})
	if err != nil || row.Place != 6 {
		t.Errorf("Event(tie 1) has place %d, %v; want 6", row.Place, err)
	}
}

func testPages(t *testing.T, f *fixture) {
	for _, filter := range []store.Filter{{}, {SessionID: "session"}, {Category: "page interaction"}} {
		for _, descending := range []bool{false, true} {
			what := fmt.Sprintf("%+v, descending %t", filter, descending)
			for block := range 3 {
				var events []event.Event
				for i := range 8 {
					events = append(events, f.make(fmt.Sprintf("%s %d-%d", what, block, i), func(e *event.Event) { e.Timestamp += event.Micros(i%7) * second }))
				}
				f.append(events...)
			}
			before := f.events(store.EventQuery{Filter: filter, Descending: descending})
			q := store.EventQuery{Filter: filter, Descending: descending, Limit: 9}
			seen := make(map[event.Key]int)
			var last *event.Order
			for page := 0; ; page++ {
				rows := f.events(q)
				for _, r := range rows {
					seen[r.Key()]++
					order := r.Order()
					if last != nil && (order.Compare(*last) <= 0) != descending {
						t.Errorf("%s: %v comes after %v", what, order, *last)
					}
					last = &order
				}
				if len(rows) < q.Limit {
					break
				}
				q.After = last
				// Something arrives before, within and behind the page.
				f.append(
					f.make(fmt.Sprintf("%s page %d low", what, page), func(e *event.Event) { e.Timestamp -= second }),
					f.make(fmt.Sprintf("%s page %d high", what, page), func(e *event.Event) { e.Timestamp += 3 * second }),
				)
				if page > 500 {
					t.Fatalf("%s: no end after %d pages", what, page)
				}
			}
			for _, r := range before {
				if seen[r.Key()] != 1 {
					t.Errorf("%s: %s was on %d pages; want 1", what, r.ID, seen[r.Key()])
				}
			}
		}
	}
}

func testFilters(t *testing.T, f *fixture) {
	f.append(
		f.make("a", func(e *event.Event) { e.Application = "other" }),
		f.make("b", func(e *event.Event) { e.Category = "payment"; e.Timestamp += second }),
		f.make("c", func(e *event.Event) { e.Name = "submit"; e.Timestamp += 2 * second }),
		f.make("d", func(e *event.Event) { e.SessionID = "other"; e.Timestamp += 3 * second }),
	)
	check := func(when string) {
		t.Helper()
		for _, test := range []struct {
			filter store.Filter
			want   []string
		}{
			{store.Filter{Application: "other"}, []string{"a"}},
			{store.Filter{Application: "web-shop", SessionID: "session"}, []string{"b", "c"}},
			{store.Filter{Category: "payment"}, []string{"b"}},
			{store.Filter{Category: "page interaction", Name: "submit"}, []string{"c"}},
			{store.Filter{SessionID: "other"}, []string{"d"}},
			{store.Filter{SessionID: "oTher"}, nil},
			{store.Filter{SessionID: "nobody"}, nil},
			{store.Filter{Application: "web-shop", From: base + second}, []string{"b", "c", "d"}},
			{store.Filter{Application: "web-shop", To: base + 2*second}, []string{"b"}},
			{store.Filter{SessionID: "session", From: base + second, To: base + 2*second}, []string{"b"}},
			{store.Filter{From: base + 4*second}, nil},
			{store.Filter{Category: "' OR true --"}, nil},
		} {
			rows := f.events(store.EventQuery{Filter: test.filter})
			f.expectIDs(fmt.Sprintf("%s: Events(%+v)", when, test.filter), rows, test.want...)
		}
		rows := f.events(store.EventQuery{Filter: store.Filter{SessionID: "session", Name: "submit"}})
		if len(rows) != 1 || rows[0].Place != 3 {
			t.Errorf("%s: place of c among filtered = %v; want its place in the whole session, 3", when, rows)
		}
	}
	check("fresh")
	f.fill(10)
	check("old")
}

func testPaths(t *testing.T, f *fixture) {
	f.append(f.make("x", func(e *event.Event) {
		e.Data = []byte(`{"text":"v","n":1.50,"big":123456789012345678901234567890,"exp":1e2,"yes":true,"no":false,"nil":null,` +
			`"esc":"a\"\u00e9\\\/\u0000","list":[{"k":"first"},2,[3]],"":"empty","a/b~c":"odd","0":"zero","o":{"p":{"q":"deep"}},"num":"1.50",` +
			`"ü":"ä","dup":"v2"}`)
	}))
	f.append(f.make("y", func(e *event.Event) { e.Data = []byte(`{"text":"w"}`) }))
	check := func(when string) {
		t.Helper()
		for _, test := range []struct {
			path  []string
			value string
			want  bool
		}{
			{[]string{"text"}, "v", true},
			{[]string{"text"}, "V", false},
			{[]string{"text"}, "", false},
			{[]string{"n"}, "1.50", true},
			{[]string{"n"}, "1.5", false},
			{[]string{"num"}, "1.50", true},
			{[]string{"big"}, "123456789012345678901234567890", true},
			{[]string{"big"}, "123456789012345678901234567891", false},
			{[]string{"exp"}, "1e2", true},
			{[]string{"exp"}, "100", false},
			{[]string{"yes"}, "true", true},
			{[]string{"no"}, "false", true},
			{[]string{"nil"}, "null", true},
			{[]string{"missing"}, "null", false},
			{[]string{"esc"}, "a\"é\\/\x00", true},
			{[]string{"list", "0", "k"}, "first", true},
			{[]string{"list", "1"}, "2", true},
			{[]string{"list", "01"}, "2", false},
			{[]string{"list", "-1"}, "2", false},
			{[]string{"list", "3"}, "2", false},
			{[]string{"list", "2", "0"}, "3", true},
			{[]string{"list"}, "2", false},
			{[]string{""}, "empty", true},
			{[]string{"a/b~c"}, "odd", true},
			{[]string{"0"}, "zero", true},
			{[]string{"o", "p", "q"}, "deep", true},
			{[]string{"o", "p"}, `{"q":"deep"}`, false},
			{[]string{"o.p.q"}, "deep", false},
			{[]string{"text", "x"}, "v", false},
			{[]string{"ü"}, "ä", true},
			{[]string{"$.text"}, "v", false},
			{[]string{"*"}, "v", false},
			{[]string{"text'"}, "v'", false},
		} {
			var want []string
			if test.want {
				want = []string{"x"}
			}
			q := store.Filter{Data: []store.PathEquals{{Path: test.path, Value: test.value}}}
			f.expectIDs(fmt.Sprintf("%s: Events(%q = %q)", when, test.path, test.value), f.events(store.EventQuery{Filter: q}), want...)
			q.SessionID = "session"
			f.expectIDs(fmt.Sprintf("%s: Events(session, %q = %q)", when, test.path, test.value), f.events(store.EventQuery{Filter: q}), want...)
		}
		both := store.Filter{Data: []store.PathEquals{{Path: []string{"text"}, Value: "v"}, {Path: []string{"yes"}, Value: "true"}}}
		f.expectIDs(when+": two paths that hold", f.events(store.EventQuery{Filter: both}), "x")
		both.Data[1].Value = "false"
		f.expectIDs(when+": one path that holds", f.events(store.EventQuery{Filter: both}))
	}
	check("fresh")
	f.fill(10)
	f.reopen()
	check("old")
}

func testSessions(t *testing.T, f *fixture) {
	in := func(session, application, id string, ts event.Micros, kind string) event.Event {
		return f.make(id, func(e *event.Event) {
			e.SessionID, e.Application, e.Timestamp, e.Name = session, application, ts, kind
		})
	}
	f.append(in("one", "web-shop", "1", base, "open"), in("two", "other", "2", base+minute, "open"), in("three", "other", "3", base+minute, "buy"))
	f.fill(10)
	f.append(in("one", "other", "4", base+hour, "buy"), in("two", "other", "5", base-hour, "open"))
	f.fill(3)
	f.append(in("one", "web-shop", "6", base+2*hour, "open"))
	one := store.Session{ID: "one", FirstTimestamp: base, LastTimestamp: base + 2*hour, Events: 3, Applications: []string{"other", "web-shop"}}
	two := store.Session{ID: "two", FirstTimestamp: base - hour, LastTimestamp: base + minute, Events: 2, Applications: []string{"other"}}
	three := store.Session{ID: "three", FirstTimestamp: base + minute, LastTimestamp: base + minute, Events: 1, Applications: []string{"other"}}
	buy := &event.Type{Category: "page interaction", Name: "buy"}
	open := &event.Type{Category: "page interaction", Name: "open"}
	for round := range 2 {
		for _, test := range []struct {
			q    store.SessionQuery
			want []store.Session
		}{
			{store.SessionQuery{Application: "other"}, []store.Session{
				{ID: "one", FirstTimestamp: base + hour, LastTimestamp: base + hour, Events: 1, Applications: []string{"other"}}, three, two}},
			{store.SessionQuery{Contains: buy}, []store.Session{three, one}},
			{store.SessionQuery{Contains: open}, []store.Session{one, two}},
			{store.SessionQuery{Contains: open, Application: "other"}, []store.Session{two}},
			{store.SessionQuery{Contains: buy, Limit: 1}, []store.Session{three}},
			{store.SessionQuery{Contains: buy, After: &store.SessionKey{FirstTimestamp: base + minute, ID: "three"}}, []store.Session{one}},
			{store.SessionQuery{Contains: open, To: base}, []store.Session{two}},
			{store.SessionQuery{Contains: open, From: base + minute}, []store.Session{one, two}},
			{store.SessionQuery{Contains: open, From: base + minute + 1}, []store.Session{one}},
			{store.SessionQuery{From: base + 2*hour}, []store.Session{one}},
			{store.SessionQuery{From: base + 2*hour + 1}, nil},
			{store.SessionQuery{To: base - hour + 1}, []store.Session{two}},
			{store.SessionQuery{To: base - hour}, nil},
			{store.SessionQuery{Application: "nobody"}, nil},
		} {
			if test.q.Limit == 0 {
				test.q.Limit = 1000
			}
			got, err := f.Sessions(t.Context(), test.q)
			if err != nil {
				t.Fatalf("Sessions(%+v) = %v", test.q, err)
			}
			same(t, fmt.Sprintf("round %d: Sessions(%+v)", round, test.q), got, test.want)
		}
		for _, want := range []store.Session{one, two, three} {
			got, err := f.Session(t.Context(), want.ID, "")
			if err != nil {
				t.Errorf("Session(%s) = %v", want.ID, err)
			}
			same(t, "Session("+want.ID+")", got, want)
		}
		f.reopen()
	}
	// All of them, page by page, however many share an instant.
	var all []store.Session
	q := store.SessionQuery{Limit: 9}
	for {
		page, err := f.Sessions(t.Context(), q)
		if err != nil {
			t.Fatalf("Sessions(%+v) = %v", q, err)
		}
		all = append(all, page...)
		if len(page) < q.Limit {
			break
		}
		last := page[len(page)-1]
		q.After = &store.SessionKey{FirstTimestamp: last.FirstTimestamp, ID: last.ID}
	}
	ids := make(map[string]bool)
	for _, one := range all {
		ids[one.ID] = true
	}
	if len(all) != 133 || len(ids) != 133 {
		t.Errorf("pages of Sessions() have %d sessions, %d of them different; want 133", len(all), len(ids))
	}
}

func testRestricted(t *testing.T, f *fixture) {
	f.append(
		f.make("mine", nil),
		f.make("theirs", func(e *event.Event) { e.Application = "other"; e.Timestamp -= second }),
	)
	for range 2 {
		rows := f.events(store.EventQuery{Filter: store.Filter{SessionID: "session", Application: "web-shop"}})
		f.expectIDs("Events(session, web-shop)", rows, "mine")
		if rows[0].Place != 2 {
			t.Errorf("place = %d; want 2, counted over all applications", rows[0].Place)
		}
		got, err := f.Session(t.Context(), "session", "web-shop")
		if err != nil {
			t.Fatalf("Session(web-shop) = %v", err)
		}
		same(t, "Session(web-shop)", got, store.Session{ID: "session", FirstTimestamp: base, LastTimestamp: base, Events: 1, Applications: []string{"web-shop"}})
		if _, err := f.Session(t.Context(), "session", "third"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Session(third) = %v; want ErrNotFound", err)
		}
		if _, err := f.Event(t.Context(), event.Key{Application: "web-shop", ID: "theirs"}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Event(web-shop/theirs) = %v; want ErrNotFound", err)
		}
		f.fill(10)
	}
}

func testSince(t *testing.T, f *fixture) {
	a := f.append(f.make("late", func(e *event.Event) { e.Timestamp = 5 }), f.make("b", func(e *event.Event) { e.Category = "payment" }))
	f.fill(5)
	b := f.append(f.make("c", nil), f.make("d", func(e *event.Event) { e.Timestamp = 4; e.SessionID = "other" }))
	since := func(after event.Position, filter store.Filter, limit int) []store.Row {
		t.Helper()
		rows, err := f.Since(t.Context(), after, filter, limit)
		if err != nil {
			t.Fatalf("Since(%d, %+v, %d) = %v", after, filter, limit, err)
		}
		return rows
	}
	shop := store.Filter{Application: "web-shop"}
	f.expectIDs("Since(0)", since(0, shop, 10), "late", "b", "c", "d")
	f.expectIDs("Since(0, limit 2)", since(0, shop, 2), "late", "b")
	f.expectIDs("Since(first)", since(a[0].Position, shop, 10), "b", "c", "d")
	f.expectIDs("Since(c)", since(b[0].Position, store.Filter{}, 10), "d")
	f.expectIDs("Since(last)", since(b[1].Position, store.Filter{}, 10))
	f.expectIDs("Since(payment)", since(0, store.Filter{Category: "payment"}, 10), "b")
	f.expectIDs("Since(session)", since(0, store.Filter{SessionID: "session"}, 10), "late", "b", "c")
	f.expectIDs("Since(to)", since(0, store.Filter{Application: "web-shop", To: base}, 10), "late", "d")
	same(t, "Since(c)", since(b[0].Position, store.Filter{}, 1), []store.Row{{Event: b[1]}})
}

func testCancel(t *testing.T, f *fixture) {
	f.append(f.make("a", nil))
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("the asker has left")
	cancel(reason)
	if _, err := f.Events(ctx, store.EventQuery{Limit: 1}); err == nil {
		// A store may have the answer at hand; it must not hand out half of one.
		f.expectIDs("Events()", f.events(store.EventQuery{Limit: 1}), "a")
	}
	f.expectIDs("Events() afterwards", f.events(store.EventQuery{Limit: 1}), "a")
}

func testConcurrent(t *testing.T, f *fixture) {
	const blocks, perBlock, readers = 60, 5, 3
	done := make(chan struct{})
	var readersDone sync.WaitGroup
	for range readers {
		readersDone.Go(func() {
			random := rand.New(rand.NewPCG(1, 2))
			for seen := 0; ; {
				select {
				case <-done:
					return
				default:
				}
				var n int64
				if random.IntN(2) == 0 {
					rows, err := f.Events(t.Context(), store.EventQuery{Filter: store.Filter{SessionID: "session"}, Limit: 1000})
					if err != nil {
						t.Errorf("Events() = %v", err)
						return
					}
					n = int64(len(rows))
				} else {
					session, err := f.Session(t.Context(), "session", "")
					if err != nil && !errors.Is(err, store.ErrNotFound) {
						t.Errorf("Session() = %v", err)
						return
					}
					n = session.Events
				}
				if n%perBlock != 0 || n < int64(seen) {
					t.Errorf("a reader saw %d events after %d; want ever more whole batches of %d", n, seen, perBlock)
					return
				}
				seen = int(n)
			}
		})
	}
	for i := range blocks {
		var events []event.Event
		for j := range perBlock {
			events = append(events, f.make(fmt.Sprintf("%d-%d", i, j), nil))
		}
		f.append(events...)
	}
	close(done)
	readersDone.Wait()
	if got := len(f.events(store.EventQuery{})); got != blocks*perBlock {
		t.Errorf("%d events are there; want %d", got, blocks*perBlock)
	}
}
