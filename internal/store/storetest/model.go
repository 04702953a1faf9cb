package storetest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// Model is a store.Store that is slow and obvious: slices in memory, searched
// from end to end. Engines are held against it.
type Model struct {
	mu         sync.Mutex
	block      uint64
	events     []event.Event // by position
	duplicates []store.Duplicate
	refusals   []event.Refusal // by position
	counts     []store.Count
}

var _ store.Store = (*Model)(nil)

// NewModel is an empty Model.
func NewModel() *Model { return new(Model) }

// Check implements store.Store.
func (m *Model) Check(context.Context) error { return nil }

// Close implements store.Store. A closed Model is open still: it has nowhere
// else to keep its events.
func (m *Model) Close() error { return nil }

// CommittedBlock implements store.Writer.
func (m *Model) CommittedBlock(context.Context) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.block, nil
}

// Existing implements store.Writer.
func (m *Model) Existing(_ context.Context, keys []event.Key) ([]store.Original, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	originals := make([]store.Original, len(keys))
	for i, key := range keys {
		for j := range m.events {
			if m.events[j].Key() == key {
				originals[i] = store.Original{Position: m.events[j].Position, Digest: m.events[j].Digest()}
			}
		}
	}
	return originals, nil
}

// Append implements store.Writer.
func (m *Model) Append(ctx context.Context, b *store.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.Block <= m.block {
		return fmt.Errorf("block %d is not behind the committed block %d", b.Block, m.block)
	}
	m.block = b.Block
	for _, e := range b.Events {
		e.Data, e.Violations = slices.Clone(e.Data), slices.Clone(e.Violations)
		m.events = append(m.events, e)
	}
	for _, r := range b.Refusals {
		r.Original, r.Violations = slices.Clone(r.Original), slices.Clone(r.Violations)
		m.refusals = append(m.refusals, r)
	}
	m.duplicates = append(m.duplicates, b.Duplicates...)
	m.counts = append(m.counts, b.Counts...)
	return nil
}

// Events implements store.Reader.
func (m *Model) Events(_ context.Context, q store.EventQuery) ([]store.Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	order := func(a, b event.Event) int { return a.Order().Compare(b.Order()) }
	if q.Descending {
		order = func(a, b event.Event) int { return b.Order().Compare(a.Order()) }
	}
	var rows []store.Row
	for _, e := range slices.SortedFunc(slices.Values(m.events), order) {
		if q.After != nil && order(e, event.Event{Timestamp: q.After.Timestamp, Sequence: q.After.Sequence, Position: q.After.Position}) <= 0 {
			continue
		}
		if matches(&e, q.Filter) && len(rows) < q.Limit {
			rows = append(rows, m.row(e))
		}
	}
	return rows, nil
}

// row is the event with its place.
func (m *Model) row(e event.Event) store.Row {
	place := int64(0)
	for i := range m.events {
		if m.events[i].SessionID == e.SessionID && m.events[i].Order().Compare(e.Order()) <= 0 {
			place++
		}
	}
	e.Data, e.Violations = slices.Clone(e.Data), slices.Clone(e.Violations)
	return store.Row{Event: e, Place: place}
}

func matches(e *event.Event, f store.Filter) bool {
	for _, pair := range [...][2]string{
		{f.Application, e.Application}, {f.SessionID, e.SessionID}, {f.Category, e.Category}, {f.Name, e.Name},
	} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	if f.From != 0 && e.Timestamp < f.From || f.To != 0 && e.Timestamp >= f.To {
		return false
	}
	for _, p := range f.Data {
		if !holds(e.Data, p) {
			return false
		}
	}
	return true
}

// holds says whether the payload has the value at the path.
func holds(data []byte, p store.PathEquals) bool {
	value := jsontext.Value(data)
	for _, name := range p.Path {
		switch value.Kind() {
		case '{':
			var members map[string]json.RawMessage
			if json.Unmarshal(value, &members) != nil {
				return false
			}
			value = jsontext.Value(members[name])
		case '[':
			var elements []json.RawMessage
			i, err := strconv.Atoi(name)
			if json.Unmarshal(value, &elements) != nil || err != nil || strconv.Itoa(i) != name || i < 0 || i >= len(elements) {
				return false
			}
			value = jsontext.Value(elements[i])
		default:
			return false
		}
	}
	switch value.Kind() {
	case '"':
		var text string
		return json.Unmarshal(value, &text) == nil && text == p.Value
	case '0', 't', 'f', 'n':
		return string(value) == p.Value
	}
	return false
}

// Event implements store.Reader.
func (m *Model) Event(_ context.Context, key event.Key) (store.Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		if e.Key() == key {
			return m.row(e), nil
		}
	}
	return store.Row{}, store.ErrNotFound
}

// Sessions implements store.Reader.
func (m *Model) Sessions(_ context.Context, q store.SessionQuery) ([]store.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := make(map[string]bool)
	for i := range m.events {
		e := &m.events[i]
		if q.Application != "" && e.Application != q.Application {
			continue
		}
		ids[e.SessionID] = ids[e.SessionID] || q.Contains == nil || *q.Contains == e.Type()
	}
	var sessions []store.Session
	for id, contains := range ids {
		one := m.session(id, q.Application)
		if contains && (q.From == 0 || one.LastTimestamp >= q.From) && (q.To == 0 || one.FirstTimestamp < q.To) {
			sessions = append(sessions, one)
		}
	}
	order := func(a, b store.Session) int {
		return cmp.Or(cmp.Compare(b.FirstTimestamp, a.FirstTimestamp), cmp.Compare(a.ID, b.ID))
	}
	slices.SortFunc(sessions, order)
	if q.After != nil {
		last := store.Session{ID: q.After.ID, FirstTimestamp: q.After.FirstTimestamp}
		sessions = slices.DeleteFunc(sessions, func(one store.Session) bool { return order(one, last) <= 0 })
	}
	return sessions[:min(q.Limit, len(sessions))], nil
}

// session sums up one session; Events is 0 when there is none.
func (m *Model) session(id, application string) store.Session {
	one := store.Session{ID: id}
	applications := make(map[string]bool)
	for i := range m.events {
		e := &m.events[i]
		if e.SessionID != id || application != "" && e.Application != application {
			continue
		}
		if one.Events++; one.Events == 1 {
			one.FirstTimestamp, one.LastTimestamp = e.Timestamp, e.Timestamp
		}
		one.FirstTimestamp = min(one.FirstTimestamp, e.Timestamp)
		one.LastTimestamp = max(one.LastTimestamp, e.Timestamp)
		applications[e.Application] = true
	}
	one.Applications = slices.Sorted(maps.Keys(applications))
	return one
}

// Session implements store.Reader.
func (m *Model) Session(_ context.Context, id, application string) (store.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	one := m.session(id, application)
	if one.Events == 0 {
		return store.Session{}, store.ErrNotFound
	}
	return one, nil
}

// Outcome implements store.Reader.
func (m *Model) Outcome(_ context.Context, p event.Position) (store.Outcome, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := func(p event.Position) *store.Row {
		for _, e := range m.events {
			if e.Position == p {
				row := m.row(e)
				return &row
			}
		}
		return nil
	}
	if row := at(p); row != nil {
		outcome := store.Outcome{Disposition: event.Stored, Application: row.Application, Event: row}
		if row.Violations != nil {
			if err := json.Unmarshal(row.Violations, &outcome.Violations); err != nil {
				return store.Outcome{}, err
			}
		}
		return outcome, nil
	}
	for _, d := range m.duplicates {
		if d.Position == p {
			outcome := store.Outcome{Disposition: event.Duplicate, Application: d.Application, Event: at(d.Original)}
			if d.Conflict {
				outcome.Violations = []event.Violation{{Pointer: "/id", Code: event.IDConflict}}
			}
			return outcome, nil
		}
	}
	for _, r := range m.refusals {
		if r.Position == p {
			return store.Outcome{Disposition: event.Quarantined, Application: r.Application, Violations: slices.Clone(r.Violations)}, nil
		}
	}
	return store.Outcome{Disposition: event.Deleted}, nil
}

// Dispositions implements store.Reader.
func (m *Model) Dispositions(_ context.Context, first, last event.Position) ([]store.Fate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var fates []store.Fate
	for _, d := range m.duplicates {
		fates = append(fates, store.Fate{Position: d.Position, Disposition: event.Duplicate})
	}
	for _, r := range m.refusals {
		fates = append(fates, store.Fate{Position: r.Position, Disposition: event.Quarantined})
	}
	fates = slices.DeleteFunc(fates, func(f store.Fate) bool { return f.Position < first || f.Position > last })
	slices.SortFunc(fates, func(a, b store.Fate) int { return cmp.Compare(a.Position, b.Position) })
	return fates, nil
}

// Since implements store.Reader.
func (m *Model) Since(_ context.Context, after event.Position, f store.Filter, limit int) ([]store.Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var rows []store.Row
	for _, e := range m.events {
		if e.Position > after && matches(&e, f) && len(rows) < limit {
			row := m.row(e)
			row.Place = 0
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// Quarantine implements store.Reader.
func (m *Model) Quarantine(_ context.Context, q store.QuarantineQuery) ([]event.Refusal, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var refusals []event.Refusal
	for _, r := range slices.Backward(m.refusals) {
		switch {
		case q.Application != "" && q.Application != r.Application,
			q.Category != "" && q.Category != r.Category,
			q.Name != "" && q.Name != r.Name,
			q.From != 0 && r.ReceivedAt < q.From,
			q.To != 0 && r.ReceivedAt >= q.To,
			q.Before != 0 && r.Position >= q.Before,
			q.Code != "" && !slices.ContainsFunc(r.Violations, func(v event.Violation) bool { return v.Code == q.Code }):
			continue
		}
		if len(refusals) < q.Limit {
			refusals = append(refusals, r)
		}
	}
	return refusals, nil
}

// Refusal implements store.Reader.
func (m *Model) Refusal(_ context.Context, p event.Position) (event.Refusal, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.refusals {
		if r.Position == p {
			return r, nil
		}
	}
	return event.Refusal{}, store.ErrNotFound
}

// Ledger implements store.Reader.
func (m *Model) Ledger(_ context.Context, from, to event.Micros) ([]store.Count, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	type row struct {
		minute                      event.Micros
		application, category, name string
	}
	sums := make(map[row]store.Count)
	for _, c := range m.counts {
		if c.Minute < from || c.Minute >= to {
			continue
		}
		key := row{c.Minute, c.Application, c.Category, c.Name}
		sum := sums[key]
		sum.Minute, sum.Application, sum.Category, sum.Name = c.Minute, c.Application, c.Category, c.Name
		sum.Received += c.Received
		sum.Stored += c.Stored
		sum.Duplicate += c.Duplicate
		sum.Quarantined += c.Quarantined
		sum.Discarded += c.Discarded
		sums[key] = sum
	}
	return slices.SortedFunc(maps.Values(sums), func(a, b store.Count) int {
		return cmp.Or(cmp.Compare(a.Minute, b.Minute), cmp.Compare(a.Application, b.Application),
			cmp.Compare(a.Category, b.Category), cmp.Compare(a.Name, b.Name))
	}), nil
}

// Size implements store.Reader.
func (m *Model) Size(context.Context) (store.Size, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return store.Size{Events: int64(len(m.events)), Quarantined: int64(len(m.refusals)), Bytes: 1}, nil
}
