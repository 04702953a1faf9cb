package storetest

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

func testDispositions(t *testing.T, f *fixture) {
	first := f.make("first", func(e *event.Event) {
		e.Position = event.At(1, 0)
		e.Violations = []byte(`[{"pointer":"/data","code":"schema","keyword":"required","message":"needs path"}]`)
	})
	second := f.make("second", func(e *event.Event) { e.Position = event.At(1, 2) })
	f.block = 1
	f.commit(&store.Batch{
		Block:  1,
		Events: []event.Event{first, second},
		Duplicates: []store.Duplicate{
			{Position: event.At(1, 1), Original: first.Position, Application: "web-shop"},
			{Position: event.At(1, 4), Original: first.Position, Application: "web-shop", Conflict: true},
		},
		Refusals: []event.Refusal{{
			Application: "other", Position: event.At(1, 3), ReceivedAt: base, Original: []byte("x"),
			Violations: []event.Violation{{Pointer: "/name", Code: event.Required, Message: "must be there"}},
		}},
	})
	for range 2 {
		for _, test := range []struct {
			p    event.Position
			want store.Outcome
		}{
			{event.At(1, 0), store.Outcome{Disposition: event.Stored, Application: "web-shop", Event: &store.Row{Event: first, Place: 1},
				Violations: []event.Violation{{Pointer: "/data", Code: event.Schema, Keyword: "required"}}}},
			{event.At(1, 1), store.Outcome{Disposition: event.Duplicate, Application: "web-shop", Event: &store.Row{Event: first, Place: 1}}},
			{event.At(1, 2), store.Outcome{Disposition: event.Stored, Application: "web-shop", Event: &store.Row{Event: second, Place: 2}}},
			{event.At(1, 3), store.Outcome{Disposition: event.Quarantined, Application: "other",
				Violations: []event.Violation{{Pointer: "/name", Code: event.Required}}}},
			{event.At(1, 4), store.Outcome{Disposition: event.Duplicate, Application: "web-shop", Event: &store.Row{Event: first, Place: 1},
				Violations: []event.Violation{{Pointer: "/id", Code: event.IDConflict}}}},
			{event.At(1, 5), store.Outcome{Disposition: event.Deleted}},
		} {
			got, err := f.Outcome(t.Context(), test.p)
			if err != nil {
				t.Fatalf("Outcome(%d) = %v", test.p, err)
			}
			same(t, fmt.Sprintf("Outcome(%d)", test.p), got, test.want)
		}
		for _, test := range []struct {
			first, last int
			want        []store.Fate
		}{
			{0, 4, []store.Fate{
				{Position: event.At(1, 1), Disposition: event.Duplicate},
				{Position: event.At(1, 3), Disposition: event.Quarantined},
				{Position: event.At(1, 4), Disposition: event.Duplicate}}},
			{0, 0, nil},
			{3, 3, []store.Fate{{Position: event.At(1, 3), Disposition: event.Quarantined}}},
			{2, 3, []store.Fate{{Position: event.At(1, 3), Disposition: event.Quarantined}}},
		} {
			got, err := f.Dispositions(t.Context(), event.At(1, test.first), event.At(1, test.last))
			if err != nil {
				t.Fatalf("Dispositions(%d, %d) = %v", test.first, test.last, err)
			}
			same(t, fmt.Sprintf("Dispositions(%d, %d)", test.first, test.last), got, test.want)
		}
		f.fill(10)
		f.reopen()
	}
}

func testQuarantine(t *testing.T, f *fixture) {
	refusal := func(index int, set func(*event.Refusal)) event.Refusal {
		r := event.Refusal{
			Application: "web-shop", ID: "x", SessionID: "s", Category: "page interaction", Name: "cta click",
			ReceivedAt: base, Position: event.At(1, index), Original: []byte(`{"a":1}`),
			Violations: []event.Violation{{Pointer: "/session_id", Code: event.Required, Message: "must be there"}},
		}
		if set != nil {
			set(&r)
		}
		return r
	}
	refusals := []event.Refusal{
		refusal(0, nil),
		refusal(1, func(r *event.Refusal) { r.Application = "other"; r.ReceivedAt += second }),
		refusal(2, func(r *event.Refusal) {
			r.Original = []byte{0xff, 0x00, 0xfe, '\n', '\''}
			r.ID, r.SessionID, r.Category, r.Name = "", "", "", ""
			r.Violations = []event.Violation{{Code: event.InvalidJSON, Message: `not "JSON" at all`}, {Pointer: "/a~1b", Code: event.Schema, Keyword: "enum"}}
			r.ReceivedAt += 2 * second
		}),
		refusal(3, func(r *event.Refusal) { r.Category = "payment"; r.Original = nil; r.ReceivedAt += 3 * second }),
		refusal(4, func(r *event.Refusal) {
			r.Name = "submit"
			r.Original = bytes.Repeat([]byte("long "), 300_000)
			r.ReceivedAt += 4 * second
		}),
	}
	f.block = 1
	f.commit(&store.Batch{Block: 1, Refusals: refusals})
	for range 2 {
		for _, test := range []struct {
			q    store.QuarantineQuery
			want []int
		}{
			{store.QuarantineQuery{}, []int{4, 3, 2, 1, 0}},
			{store.QuarantineQuery{Limit: 2}, []int{4, 3}},
			{store.QuarantineQuery{Limit: 2, Before: event.At(1, 3)}, []int{2, 1}},
			{store.QuarantineQuery{Before: event.At(1, 0)}, nil},
			{store.QuarantineQuery{Application: "other"}, []int{1}},
			{store.QuarantineQuery{Category: "payment"}, []int{3}},
			{store.QuarantineQuery{Category: "page interaction", Name: "submit"}, []int{4}},
			{store.QuarantineQuery{Code: event.Required}, []int{4, 3, 1, 0}},
			{store.QuarantineQuery{Code: event.Schema}, []int{2}},
			{store.QuarantineQuery{Code: event.InvalidJSON}, []int{2}},
			{store.QuarantineQuery{Code: "enum"}, nil},
			{store.QuarantineQuery{From: base + second, To: base + 3*second}, []int{2, 1}},
		} {
			if test.q.Limit == 0 {
				test.q.Limit = 100
			}
			var want []event.Refusal
			for _, i := range test.want {
				want = append(want, refusals[i])
			}
			got, err := f.Quarantine(t.Context(), test.q)
			if err != nil {
				t.Fatalf("Quarantine(%+v) = %v", test.q, err)
			}
			same(t, fmt.Sprintf("Quarantine(%+v)", test.q), got, want)
		}
		for _, want := range refusals {
			got, err := f.Refusal(t.Context(), want.Position)
			if err != nil {
				t.Fatalf("Refusal(%d) = %v", want.Position, err)
			}
			same(t, fmt.Sprintf("Refusal(%d)", want.Position), got, want)
			if got.Violations[0].Message != want.Violations[0].Message {
				t.Errorf("message = %q; want %q", got.Violations[0].Message, want.Violations[0].Message)
			}
		}
		f.fill(10)
		f.reopen()
	}
}

func testLedger(t *testing.T, f *fixture) {
	row := func(m event.Micros, application, name string) store.Count {
		return store.Count{Minute: m, Application: application, Category: "page interaction", Name: name}
	}
	received := func(c store.Count, stored, duplicate, quarantined, discarded int64) store.Count {
		c.Stored, c.Duplicate, c.Quarantined, c.Discarded = stored, duplicate, quarantined, discarded
		c.Received = stored + duplicate + quarantined + discarded
		return c
	}
	a, b, unread := row(base, "web-shop", "cta click"), row(base+minute, "web-shop", "cta click"), store.Count{Minute: base, Application: "other"}
	f.block++
	f.commit(&store.Batch{Block: f.block, Counts: []store.Count{received(a, 5, 1, 2, 0), received(unread, 0, 0, 1, 0)}})
	f.block++
	f.commit(&store.Batch{Block: f.block, Counts: []store.Count{received(a, 1, 0, 0, 0), received(b, 2, 0, 0, 0)}})
	f.fill(10)
	f.block++
	// Replayed: one moves from quarantined to stored, one is discarded.
	moved := a
	moved.Stored, moved.Quarantined, moved.Discarded = 1, -2, 1
	f.commit(&store.Batch{Block: f.block, Counts: []store.Count{moved}})
	for range 2 {
		for _, test := range []struct {
			from, to event.Micros
			want     []store.Count
		}{
			{base, base + hour, []store.Count{received(unread, 0, 0, 1, 0), received(a, 7, 1, 0, 1), received(b, 2, 0, 0, 0)}},
			{base, base + minute, []store.Count{received(unread, 0, 0, 1, 0), received(a, 7, 1, 0, 1)}},
			{base + minute, math.MaxInt32 * minute, []store.Count{received(b, 2, 0, 0, 0)}},
			{0, base, nil},
		} {
			got, err := f.Ledger(t.Context(), test.from, test.to)
			if err != nil {
				t.Fatalf("Ledger(%v, %v) = %v", test.from, test.to, err)
			}
			same(t, fmt.Sprintf("Ledger(%v, %v)", test.from, test.to), got, test.want)
		}
		f.fill(10)
		f.reopen()
	}
}
