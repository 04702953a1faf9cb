package api_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// memory is a store.Reader that keeps its contract, slowly and obviously.
type memory struct {
	mu         sync.Mutex
	events     []event.Event // in order of position; guarded by mu, like all below
	duplicates map[event.Position]store.Duplicate
	refusals   []event.Refusal // in order of position
	err        error           // given by every call, if set
	calls      int
}

var _ store.Reader = (*memory)(nil)

// enter is called first by every method.
func (m *memory) enter(ctx context.Context) error {
	m.calls++
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.err
}

// rows is every event in order of its session's time, with its place.
func (m *memory) rows() []store.Row {
	sorted := slices.Clone(m.events)
	slices.SortFunc(sorted, func(a, b event.Event) int { return a.Order().Compare(b.Order()) })
	places := make(map[string]int64)
	rows := make([]store.Row, len(sorted))
	for i, e := range sorted {
		places[e.SessionID]++
		rows[i] = store.Row{Event: e, Place: places[e.SessionID]}
	}
	return rows
}

func matches(f *store.Filter, e *event.Event) bool {
	return (f.Application == "" || f.Application == e.Application) &&
		(f.SessionID == "" || f.SessionID == e.SessionID) &&
		(f.Category == "" || f.Category == e.Category) &&
		(f.Name == "" || f.Name == e.Name) &&
		(f.From == 0 || e.Timestamp >= f.From) && (f.To == 0 || e.Timestamp < f.To) &&
		!slices.ContainsFunc(f.Data, func(d store.PathEquals) bool { return !holds(d, e.Data) })
}

func holds(d store.PathEquals, data []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return false
	}
	for _, name := range d.Path {
		object, _ := v.(map[string]any)
		var ok bool
		if v, ok = object[name]; !ok {
			return false
		}
	}
	switch v := v.(type) {
	case string:
		return v == d.Value
	case map[string]any, []any:
		return false
	}
	text, err := json.Marshal(v)
	return err == nil && string(text) == d.Value
}

func (m *memory) Events(ctx context.Context, q store.EventQuery) ([]store.Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	rows := m.rows()
	if q.Descending {
		slices.Reverse(rows)
	}
	var out []store.Row
	for _, r := range rows {
		if q.After != nil {
			if c := r.Order().Compare(*q.After); c == 0 || (c < 0) != q.Descending {
				continue
			}
		}
		if len(out) < q.Limit && matches(&q.Filter, &r.Event) {
			out = append(out, r)
		}
	}
	return out, nil
}

func (m *memory) Event(ctx context.Context, key event.Key) (store.Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return store.Row{}, err
	}
	for _, r := range m.rows() {
		if r.Key() == key {
			return r, nil
		}
	}
	return store.Row{}, store.ErrNotFound
}

func (m *memory) sessions(application string, contains *event.Type) []store.Session {
	byID := make(map[string]*store.Session)
	has := make(map[string]bool)
	for _, r := range m.rows() {
		if application != "" && r.Application != application {
			continue
		}
		s := byID[r.SessionID]
		if s == nil {
			s = &store.Session{ID: r.SessionID, FirstTimestamp: r.Timestamp}
			byID[r.SessionID] = s
		}
		s.LastTimestamp = r.Timestamp
		s.Events++
		if !slices.Contains(s.Applications, r.Application) {
			s.Applications = append(s.Applications, r.Application)
			slices.Sort(s.Applications)
		}
		if contains == nil || *contains == r.Type() {
			has[r.SessionID] = true
		}
	}
	var list []store.Session
	for id, s := range byID {
		if has[id] {
			list = append(list, *s)
		}
	}
	slices.SortFunc(list, func(a, b store.Session) int {
		return cmp.Or(cmp.Compare(b.FirstTimestamp, a.FirstTimestamp), cmp.Compare(a.ID, b.ID))
	})
	return list
}

func (m *memory) Sessions(ctx context.Context, q store.SessionQuery) ([]store.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	var out []store.Session
	for _, s := range m.sessions(q.Application, q.Contains) {
		if q.After != nil && cmp.Or(cmp.Compare(q.After.FirstTimestamp, s.FirstTimestamp), cmp.Compare(s.ID, q.After.ID)) <= 0 {
			continue
		}
		if (q.From != 0 && s.LastTimestamp < q.From) || (q.To != 0 && s.FirstTimestamp >= q.To) {
			continue
		}
		if len(out) < q.Limit {
			out = append(out, s)
		}
	}
	return out, nil
}

func (m *memory) Session(ctx context.Context, id, application string) (store.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return store.Session{}, err
	}
	for _, s := range m.sessions(application, nil) {
		if s.ID == id {
			return s, nil
		}
	}
	return store.Session{}, store.ErrNotFound
}

func (m *memory) Outcome(ctx context.Context, p event.Position) (store.Outcome, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return store.Outcome{}, err
	}
	o := store.Outcome{Disposition: event.Stored}
	at := p
	if d, ok := m.duplicates[p]; ok {
		at, o.Disposition = d.Original, event.Duplicate
		if d.Conflict {
			o.Violations = []event.Violation{{Pointer: "/id", Code: event.IDConflict, Message: "The id was used for another event."}}
		}
	}
	for _, r := range m.rows() {
		if r.Position == at {
			o.Application, o.Event = r.Application, &r
			return o, nil
		}
	}
	for _, r := range m.refusals {
		if r.Position == p {
			return store.Outcome{Disposition: event.Quarantined, Application: r.Application, Violations: r.Violations}, nil
		}
	}
	return store.Outcome{Disposition: event.Deleted}, nil
}

func (m *memory) Dispositions(context.Context, event.Position, event.Position) ([]store.Fate, error) {
	panic("the API does not ask for it")
}

func (m *memory) Since(context.Context, event.Position, store.Filter, int) ([]store.Row, error) {
	panic("the API does not ask for it")
}

func (m *memory) Quarantine(ctx context.Context, q store.QuarantineQuery) ([]event.Refusal, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	var out []event.Refusal
	for _, r := range slices.Backward(m.refusals) {
		if (q.Before == 0 || r.Position < q.Before) &&
			(q.Application == "" || q.Application == r.Application) &&
			(q.Category == "" || q.Category == r.Category) &&
			(q.Name == "" || q.Name == r.Name) &&
			(q.Code == "" || slices.ContainsFunc(r.Violations, func(v event.Violation) bool { return v.Code == q.Code })) &&
			(q.From == 0 || r.ReceivedAt >= q.From) && (q.To == 0 || r.ReceivedAt < q.To) &&
			len(out) < q.Limit {
			out = append(out, r)
		}
	}
	return out, nil
}

func (m *memory) Refusal(ctx context.Context, p event.Position) (event.Refusal, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return event.Refusal{}, err
	}
	for _, r := range m.refusals {
		if r.Position == p {
			return r, nil
		}
	}
	return event.Refusal{}, store.ErrNotFound
}

func (m *memory) Ledger(context.Context, event.Micros, event.Micros) ([]store.Count, error) {
	panic("the API does not ask for it")
}

func (m *memory) Size(context.Context) (store.Size, error) {
	panic("the API does not ask for it")
}
