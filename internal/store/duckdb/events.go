package duckdb

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// Events implements store.Reader. The keys of the page are read first; the
// payload only of the events that are on it.
func (s *Store) Events(ctx context.Context, q store.EventQuery) (rows []store.Row, err error) {
	err = s.read(ctx, "read events", func(v *snapshot) error {
		if q.SessionID != "" {
			rows, err = v.sessionEvents(q)
		} else {
			rows, err = v.events(q)
		}
		return err
	})
	return rows, err
}

// sessionEvents is Events of one session: its places come with the keys.
func (v *snapshot) sessionEvents(q store.EventQuery) ([]store.Row, error) {
	var c conditions
	f := q.Filter
	f.SessionID = ""
	c.filter(f)
	c.after(q)
	needed := "session_key, position, timestamp, sequence"
	if f.Application != "" || f.Category != "" || f.Name != "" {
		needed += ", application, category, name"
	}
	if len(f.Data) > 0 {
		needed += ", data"
	}
	order := direction(q.Descending)
	spans := v.x.spans(q.SessionID)
	statement := fmt.Sprintf(sessionEventsSQL, from(spans, needed), int64(sessionKey(q.SessionID)), c.String(), order, order, order, q.Limit)
	var positions []event.Position
	places := make(map[event.Position]int64)
	var total int
	err := v.each(statement, c.args, func(scan func(...any) error) error {
		var p event.Position
		var place int64
		err := scan(&p, &place, &total)
		positions = append(positions, p)
		places[p] = place
		return err
	})
	if err != nil {
		return nil, err
	}
	var rows []store.Row
	if total <= len(positions)*mostlyWanted {
		rows, err = v.ofSession(q.SessionID, spans, positions)
	} else {
		rows, err = v.at(positions)
	}
	for i := range rows {
		rows[i].Place = places[rows[i].Position]
	}
	return rows, err
}

// mostlyWanted is how many times more events than the page has a session may
// have to be read as a whole: that takes one scan of a column of numbers, where
// looking up positions takes a search for each.
const mostlyWanted = 4

// ofSession reads the events at the positions, all of that session, in the order
// of positions.
func (v *snapshot) ofSession(id string, spans []span, positions []event.Position) ([]store.Row, error) {
	if len(positions) == 0 {
		return nil, nil
	}
	wanted := make(map[event.Position]int, len(positions))
	for i, p := range positions {
		wanted[p] = i
	}
	spans = slices.DeleteFunc(spans, func(s span) bool {
		return !slices.ContainsFunc(positions, func(p event.Position) bool { return s.first <= p && p <= s.last })
	})
	rows := make([]store.Row, len(positions))
	err := v.each(fmt.Sprintf("SELECT * FROM %s", from(spans, columns, fmt.Sprintf("session_key = %d AND session_id = $1", int64(sessionKey(id))))),
		[]any{id}, func(scan func(...any) error) error {
			var r store.Row
			if err := scanEvent(scan, &r.Event); err != nil {
				return err
			}
			if i, ok := wanted[r.Position]; ok {
				rows[i] = r
			}
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	// The key found them, the id has the last word: two ids can share a key.
	return slices.DeleteFunc(rows, func(r store.Row) bool { return r.Position == 0 }), nil
}

// events is Events of all sessions.
func (v *snapshot) events(q store.EventQuery) ([]store.Row, error) {
	var c conditions
	c.filter(q.Filter)
	c.after(q)
	order := direction(q.Descending)
	positions, err := v.positions(fmt.Sprintf(
		"SELECT position FROM store.events WHERE %s ORDER BY timestamp %s, sequence %s, position %s LIMIT %d",
		c.String(), order, order, order, q.Limit), c.args)
	if err != nil {
		return nil, err
	}
	rows, err := v.at(positions)
	if err != nil {
		return nil, err
	}
	return rows, v.place(rows)
}

// positions are the answer to a statement that selects positions.
func (v *snapshot) positions(statement string, args []any) (positions []event.Position, err error) {
	err = v.each(statement, args, func(scan func(...any) error) error {
		var p event.Position
		err := scan(&p)
		positions = append(positions, p)
		return err
	})
	return positions, err
}

// place fills in the rows' places.
func (v *snapshot) place(rows []store.Row) error {
	if len(rows) == 0 {
		return nil
	}
	positions := make([]event.Position, len(rows))
	sessions := make(map[string]bool)
	var keys []int64
	for i := range rows {
		positions[i] = rows[i].Position
		if id := rows[i].SessionID; !sessions[id] {
			sessions[id] = true
			keys = append(keys, int64(sessionKey(id)))
		}
	}
	places := make(map[event.Position]int64, len(rows))
	statement := fmt.Sprintf(placesSQL, from(v.x.spans(slices.Collect(maps.Keys(sessions))...), "session_key, position, timestamp, sequence"), list(positions))
	err := v.each(statement, []any{keys}, func(scan func(...any) error) error {
		var p event.Position
		var place int64
		err := scan(&p, &place)
		places[p] = place
		return err
	})
	if err != nil {
		return fmt.Errorf("count places: %w", err)
	}
	for i := range rows {
		rows[i].Place = places[rows[i].Position]
	}
	return nil
}

// Event implements store.Reader.
func (s *Store) Event(ctx context.Context, key event.Key) (row store.Row, err error) {
	h := key.Hash()
	recent := s.tail.position(h)
	err = s.read(ctx, "read event", func(v *snapshot) error {
		positions := []event.Position{recent}
		if recent == 0 {
			spans := v.x.candidates(h)
			if len(spans) == 0 {
				return store.ErrNotFound
			}
			positions, err = v.positions(fmt.Sprintf("SELECT position FROM %s WHERE id = $1 AND application = $2",
				from(spans, "position, id, application")), []any{key.ID, key.Application})
			if err != nil {
				return err
			}
		}
		row, err = v.one(positions)
		return err
	})
	return row, err
}

// one is the event at the one position, with its place, or ErrNotFound.
func (v *snapshot) one(positions []event.Position) (store.Row, error) {
	if len(positions) == 0 {
		return store.Row{}, store.ErrNotFound
	}
	rows, err := v.at(positions[:1])
	if err != nil {
		return store.Row{}, err
	}
	return rows[0], v.place(rows)
}

// Since implements store.Reader.
func (s *Store) Since(ctx context.Context, after event.Position, f store.Filter, limit int) (rows []store.Row, err error) {
	err = s.read(ctx, "read events", func(v *snapshot) error {
		var c conditions
		c.add(fmt.Sprintf("position > %d", min(after, everything.last)))
		c.filter(f)
		events := "store.events"
		if f.SessionID != "" {
			events = from(v.x.spans(f.SessionID), "*")
			c.add(fmt.Sprintf("session_key = %d", int64(sessionKey(f.SessionID))))
		}
		positions, err := v.positions(fmt.Sprintf("SELECT position FROM %s WHERE %s ORDER BY position LIMIT %d",
			events, c.String(), limit), c.args)
		if err != nil {
			return err
		}
		rows, err = v.at(positions)
		return err
	})
	return rows, err
}

// filter adds what the filter asks for.
func (c *conditions) filter(f store.Filter) {
	for _, column := range [...]struct{ name, value string }{
		{"session_id", f.SessionID}, {"application", f.Application}, {"category", f.Category}, {"name", f.Name},
	} {
		if column.value != "" {
			c.add(column.name+" = ?", column.value)
		}
	}
	if f.From != 0 {
		c.add("timestamp >= " + timestamp(f.From))
	}
	if f.To != 0 {
		c.add("timestamp < " + timestamp(f.To))
	}
	for _, p := range f.Data {
		// The first condition is cheap and lets all through that can match: a
		// payload without a backslash has every string and number as it is.
		c.add(`(contains(data, ?) OR contains(data, '\'))`, p.Value)
		c.add(pathEqualsName+"(data, ?, ?)", pointer(p.Path), p.Value)
	}
}

// after adds that an event lies behind the page before.
func (c *conditions) after(q store.EventQuery) {
	if q.After == nil {
		return
	}
	op := ">"
	if q.Descending {
		op = "<"
	}
	// The first condition alone lets the engine skip what lies before the page.
	t := timestamp(q.After.Timestamp)
	c.add(fmt.Sprintf("timestamp %[1]s= %[2]s AND (timestamp %[1]s %[2]s OR sequence %[1]s %[3]d OR (sequence = %[3]d AND position %[1]s %[4]d))",
		op, t, q.After.Sequence, min(q.After.Position, everything.last)))
}

// timestamp is an instant in SQL. The engine folds it into a constant.
func timestamp(m event.Micros) string { return fmt.Sprintf("make_timestamp(%d)", m) }

func direction(descending bool) string {
	if descending {
		return "DESC"
	}
	return "ASC"
}
