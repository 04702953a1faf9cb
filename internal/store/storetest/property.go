package storetest

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// testModel draws histories (batches as a processor would make them, with
// duplicates, late events and refusals, and reopenings between) and questions,
// and holds every answer against the Model's. The first 25 histories count:
// opening an engine takes its time.
func testModel(t *testing.T, f *fixture) {
	most := 25
	if testing.Short() {
		most = 8
	}
	histories, failed := 0, false
	rapid.Check(t, func(rt *rapid.T) {
		if histories == most && !failed { // but look for the smallest that fails
			return
		}
		histories++
		h := &history{Model: NewModel(), open: f.open, outer: t, dir: t.TempDir()}
		h.engine = f.open(t, h.dir)
		defer func() {
			if err := h.engine.Close(); err != nil {
				rt.Errorf("Close() = %v", err)
			}
		}()
		failed = true // unless it comes to its end
		for range rapid.IntRange(1, 6).Draw(rt, "batches") {
			h.append(rt)
			if rapid.IntRange(0, 4).Draw(rt, "reopen") == 0 {
				h.reopen(rt)
			}
			for range rapid.IntRange(1, 4).Draw(rt, "questions") {
				h.ask(rt)
			}
		}
		failed = rt.Failed()
	})
	t.Logf("%d histories", histories)
}

type history struct {
	*Model
	engine store.Store
	open   Open
	outer  *testing.T
	dir    string
}

func (h *history) reopen(rt *rapid.T) {
	if err := h.engine.Close(); err != nil {
		rt.Fatalf("Close() = %v", err)
	}
	h.engine = h.open(h.outer, h.dir)
}

var (
	drawApplication = rapid.SampledFrom([]string{"web-shop", "app", "till"})
	drawSession     = rapid.SampledFrom([]string{"s1", "s2", "s3", "s4", "session with ü"})
	drawCategory    = rapid.SampledFrom([]string{"page", "payment"})
	drawName        = rapid.SampledFrom([]string{"open", "close", "buy"})
	drawSequence    = rapid.SampledFrom([]int64{event.NoSequence, 0, 1, 2})
	drawValue       = rapid.SampledFrom([]string{`"a"`, `"b\u0041"`, `1`, `1.0`, `true`, `null`, `{"w":"a"}`, `["a",1]`})
	drawTimestamp   = rapid.Custom(func(rt *rapid.T) event.Micros {
		return base + event.Micros(rapid.IntRange(-4, 4).Draw(rt, "seconds"))*second*rapid.SampledFrom([]event.Micros{1, 3600}).Draw(rt, "unit")
	})
)

// append draws a batch, and gives it to the engine and the model.
func (h *history) append(rt *rapid.T) {
	h.mu.Lock()
	b := &store.Batch{Block: h.block + uint64(rapid.IntRange(1, 3).Draw(rt, "blocks"))}
	h.mu.Unlock()
	records := rapid.IntRange(0, 25).Draw(rt, "records")
	keys := make([]event.Key, records)
	for i := range keys {
		keys[i] = event.Key{Application: drawApplication.Draw(rt, "application"), ID: fmt.Sprint(rapid.IntRange(0, 200).Draw(rt, "id"))}
	}
	want, _ := h.Model.Existing(h.outer.Context(), keys)
	got, err := h.engine.Existing(h.outer.Context(), keys)
	if err != nil {
		rt.Fatalf("Existing() = %v", err)
	}
	sameIn(rt, "Existing()", got, want)
	within := make(map[event.Key]event.Position)
	for i, key := range keys {
		p := event.At(b.Block, i)
		count := store.Count{Minute: base + event.Micros(b.Block%3)*minute, Application: key.Application, Received: 1}
		original := got[i].Position
		if original == 0 {
			original = within[key]
		}
		switch {
		case rapid.IntRange(0, 9).Draw(rt, "refuse") == 0:
			b.Refusals = append(b.Refusals, event.Refusal{
				Application: key.Application, ID: key.ID, Category: drawCategory.Draw(rt, "category"), Position: p,
				ReceivedAt: base + event.Micros(b.Block)*second, Original: []byte{byte(i), 0xff},
				Violations: []event.Violation{{Code: rapid.SampledFrom([]event.Code{event.Required, event.TooLong}).Draw(rt, "code")}},
			})
			count.Quarantined = 1
		case original != 0:
			b.Duplicates = append(b.Duplicates, store.Duplicate{
				Position: p, Original: original, Application: key.Application, Conflict: rapid.Bool().Draw(rt, "conflict"),
			})
			count.Duplicate = 1
		default:
			within[key] = p
			b.Events = append(b.Events, event.Event{
				Application: key.Application, ID: key.ID, SessionID: drawSession.Draw(rt, "session"),
				Category: drawCategory.Draw(rt, "category"), Name: drawName.Draw(rt, "name"),
				Data:      []byte(`{"k":"x","v":` + drawValue.Draw(rt, "value") + `}`),
				Timestamp: drawTimestamp.Draw(rt, "timestamp"), Sequence: drawSequence.Draw(rt, "sequence"),
				ReceivedAt: base + event.Micros(b.Block)*second, Position: p,
			})
			count.Stored = 1
		}
		b.Counts = append(b.Counts, count)
	}
	if err := h.engine.Append(h.outer.Context(), b); err != nil {
		rt.Fatalf("Append(block %d) = %v", b.Block, err)
	}
	if err := h.Model.Append(h.outer.Context(), b); err != nil {
		rt.Fatalf("the model: Append(block %d) = %v", b.Block, err)
	}
}

// ask draws a question.
func (h *history) ask(rt *rapid.T) {
	ctx := h.outer.Context()
	switch kind := rapid.SampledFrom([]string{"events", "events", "sessions", "session", "event", "outcome", "dispositions", "since", "quarantine", "ledger"}).Draw(rt, "question"); kind {
	case "events":
		q := store.EventQuery{Filter: drawFilter(rt), Descending: rapid.Bool().Draw(rt, "descending"), Limit: rapid.IntRange(1, 9).Draw(rt, "limit")}
		for page := 0; page < 3; page++ {
			rows := check(rt, fmt.Sprintf("Events(%+v)", q), func(s store.Store) ([]store.Row, error) { return s.Events(ctx, q) }, h)
			if len(rows) == 0 {
				return
			}
			order := rows[len(rows)-1].Order()
			q.After = &order
		}
	case "sessions":
		q := store.SessionQuery{Application: maybe(rt, drawApplication), From: maybe(rt, drawTimestamp), To: maybe(rt, drawTimestamp), Limit: rapid.IntRange(1, 4).Draw(rt, "limit")}
		if rapid.Bool().Draw(rt, "contains") {
			q.Contains = &event.Type{Category: drawCategory.Draw(rt, "category"), Name: drawName.Draw(rt, "name")}
		}
		for page := 0; page < 3; page++ {
			sessions := check(rt, fmt.Sprintf("Sessions(%+v)", q), func(s store.Store) ([]store.Session, error) { return s.Sessions(ctx, q) }, h)
			if len(sessions) == 0 {
				return
			}
			last := sessions[len(sessions)-1]
			q.After = &store.SessionKey{FirstTimestamp: last.FirstTimestamp, ID: last.ID}
		}
	case "session":
		id, application := drawSession.Draw(rt, "session"), maybe(rt, drawApplication)
		check(rt, fmt.Sprintf("Session(%s, %s)", id, application), func(s store.Store) (store.Session, error) { return s.Session(ctx, id, application) }, h)
	case "event":
		key := event.Key{Application: drawApplication.Draw(rt, "application"), ID: fmt.Sprint(rapid.IntRange(0, 200).Draw(rt, "id"))}
		check(rt, fmt.Sprintf("Event(%v)", key), func(s store.Store) (store.Row, error) { return s.Event(ctx, key) }, h)
	case "outcome":
		p := h.drawPosition(rt)
		check(rt, fmt.Sprintf("Outcome(%d)", p), func(s store.Store) (store.Outcome, error) { return s.Outcome(ctx, p) }, h)
	case "dispositions":
		first, last := h.drawPosition(rt), h.drawPosition(rt)
		check(rt, fmt.Sprintf("Dispositions(%d, %d)", first, last), func(s store.Store) ([]store.Fate, error) { return s.Dispositions(ctx, first, last) }, h)
	case "since":
		p, filter, limit := h.drawPosition(rt), drawFilter(rt), rapid.IntRange(1, 30).Draw(rt, "limit")
		check(rt, fmt.Sprintf("Since(%d, %+v, %d)", p, filter, limit), func(s store.Store) ([]store.Row, error) { return s.Since(ctx, p, filter, limit) }, h)
	case "quarantine":
		q := store.QuarantineQuery{Application: maybe(rt, drawApplication), Category: maybe(rt, drawCategory), Limit: rapid.IntRange(1, 5).Draw(rt, "limit"), Before: h.drawPosition(rt)}
		check(rt, fmt.Sprintf("Quarantine(%+v)", q), func(s store.Store) ([]event.Refusal, error) { return s.Quarantine(ctx, q) }, h)
	case "ledger":
		check(rt, "Ledger()", func(s store.Store) ([]store.Count, error) { return s.Ledger(ctx, 0, math.MaxInt32*minute) }, h)
	}
}

// check holds the engine's answer against the model's.
func check[A any](rt *rapid.T, what string, ask func(store.Store) (A, error), h *history) A {
	want, wantErr := ask(h.Model)
	got, err := ask(h.engine)
	if (err == nil) != (wantErr == nil) {
		rt.Fatalf("%s = %v; want %v", what, err, wantErr)
	}
	if err == nil {
		sameIn(rt, what, got, want)
	}
	return got
}

func (h *history) drawPosition(rt *rapid.T) event.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	return event.At(uint64(rapid.IntRange(0, int(h.block)).Draw(rt, "block")), rapid.IntRange(0, 25).Draw(rt, "index"))
}

func drawFilter(rt *rapid.T) store.Filter {
	f := store.Filter{
		Application: maybe(rt, drawApplication), SessionID: maybe(rt, drawSession), Category: maybe(rt, drawCategory),
		Name: maybe(rt, drawName), From: maybe(rt, drawTimestamp), To: maybe(rt, drawTimestamp),
	}
	if rapid.IntRange(0, 2).Draw(rt, "by data") == 0 {
		f.Data = []store.PathEquals{{
			Path:  rapid.SampledFrom([][]string{{"v"}, {"v", "w"}, {"v", "0"}, {"v", "1"}, {"k"}}).Draw(rt, "path"),
			Value: rapid.SampledFrom([]string{"a", "bA", "1", "1.0", "true", "null", "x"}).Draw(rt, "path value"),
		}}
	}
	return f
}

// maybe draws a value, or more often the zero value.
func maybe[V any](rt *rapid.T, draw *rapid.Generator[V]) (v V) {
	if rapid.IntRange(0, 2).Draw(rt, "set") == 0 {
		v = draw.Draw(rt, "value")
	}
	return v
}
