package duckdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// Outcome implements store.Reader.
func (s *Store) Outcome(ctx context.Context, p event.Position) (outcome store.Outcome, err error) {
	err = s.read(ctx, "read outcome", func(v *snapshot) (err error) {
		for _, look := range []func(event.Position) (store.Outcome, error){v.stored, v.quarantined, v.duplicate} {
			if outcome, err = look(p); !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		outcome = store.Outcome{Disposition: event.Deleted}
		return nil
	})
	return outcome, err
}

func (v *snapshot) stored(p event.Position) (store.Outcome, error) {
	positions, err := v.positions(fmt.Sprintf("SELECT position FROM store.events WHERE position = %d", min(p, everything.last)), nil)
	if err != nil {
		return store.Outcome{}, err
	}
	row, err := v.one(positions)
	if err != nil {
		return store.Outcome{}, err
	}
	outcome := store.Outcome{Disposition: event.Stored, Application: row.Application, Event: &row}
	if row.Violations != nil {
		if err := json.Unmarshal(row.Violations, &outcome.Violations); err != nil {
			return store.Outcome{}, fmt.Errorf("read violations: %w", err)
		}
	}
	return outcome, nil
}

func (v *snapshot) quarantined(p event.Position) (store.Outcome, error) {
	r, err := v.refusal(p)
	if err != nil {
		return store.Outcome{}, err
	}
	return store.Outcome{Disposition: event.Quarantined, Application: r.Application, Violations: r.Violations}, nil
}

func (v *snapshot) duplicate(p event.Position) (store.Outcome, error) {
	var duplicates []store.Duplicate
	err := v.each(fmt.Sprintf("SELECT original, application, conflict FROM store.duplicates WHERE position = %d", min(p, everything.last)), nil,
		func(scan func(...any) error) error {
			var d store.Duplicate
			err := scan(&d.Original, &d.Application, &d.Conflict)
			duplicates = append(duplicates, d)
			return err
		})
	if err != nil {
		return store.Outcome{}, err
	}
	if len(duplicates) == 0 {
		return store.Outcome{}, store.ErrNotFound
	}
	d := duplicates[0]
	outcome := store.Outcome{Disposition: event.Duplicate, Application: d.Application}
	if d.Conflict {
		outcome.Violations = []event.Violation{{
			Pointer: "/id",
			Code:    event.IDConflict,
			Message: "an event with this id but other content was there first; give every event an id of its own",
		}}
	}
	row, err := v.one([]event.Position{d.Original})
	if err != nil {
		return store.Outcome{}, fmt.Errorf("read original: %w", err)
	}
	outcome.Event = &row
	return outcome, nil
}

// Dispositions implements store.Reader.
func (s *Store) Dispositions(ctx context.Context, first, last event.Position) (fates []store.Fate, err error) {
	last = min(last, everything.last)
	err = s.read(ctx, "read dispositions", func(v *snapshot) error {
		return v.each(fmt.Sprintf(dispositionsSQL, first, last, first, last), nil, func(scan func(...any) error) error {
			var f store.Fate
			err := scan(&f.Position, (*string)(&f.Disposition))
			fates = append(fates, f)
			return err
		})
	})
	return fates, err
}

// Quarantine implements store.Reader.
func (s *Store) Quarantine(ctx context.Context, q store.QuarantineQuery) (refusals []event.Refusal, err error) {
	var c conditions
	for _, column := range [...]struct{ name, value string }{
		{"application", q.Application}, {"category", q.Category}, {"name", q.Name},
	} {
		if column.value != "" {
			c.add(column.name+" = ?", column.value)
		}
	}
	if q.Code != "" {
		c.add("list_contains(json_extract_string(violations, '$[*].code'), ?)", string(q.Code))
	}
	if q.From != 0 {
		c.add("received_at >= " + timestamp(q.From))
	}
	if q.To != 0 {
		c.add("received_at < " + timestamp(q.To))
	}
	if q.Before != 0 {
		c.add(fmt.Sprintf("position < %d", min(q.Before, everything.last)))
	}
	err = s.read(ctx, "read quarantine", func(v *snapshot) (err error) {
		refusals, err = v.refusals(c.String()+fmt.Sprintf(" ORDER BY position DESC LIMIT %d", q.Limit), c.args)
		return err
	})
	return refusals, err
}

// Refusal implements store.Reader.
func (s *Store) Refusal(ctx context.Context, p event.Position) (r event.Refusal, err error) {
	err = s.read(ctx, "read refusal", func(v *snapshot) error {
		r, err = v.refusal(p)
		return err
	})
	return r, err
}

func (v *snapshot) refusal(p event.Position) (event.Refusal, error) {
	found, err := v.refusals(fmt.Sprintf("position = %d", min(p, everything.last)), nil)
	if err != nil {
		return event.Refusal{}, err
	}
	if len(found) == 0 {
		return event.Refusal{}, store.ErrNotFound
	}
	return found[0], nil
}

// refusals that match, and what follows the condition.
func (v *snapshot) refusals(condition string, args []any) (refusals []event.Refusal, err error) {
	err = v.each(`SELECT position, application, id, session_id, category, name, epoch_us(received_at), violations, original
		FROM store.quarantine WHERE `+condition, args, func(scan func(...any) error) error {
		var r event.Refusal
		var violations string
		err := scan(&r.Position, &r.Application, &r.ID, &r.SessionID, &r.Category, &r.Name, &r.ReceivedAt, &violations, &r.Original)
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(violations), &r.Violations); err != nil {
			return fmt.Errorf("read violations: %w", err)
		}
		r.Original = slices.Clone(r.Original)
		refusals = append(refusals, r)
		return nil
	})
	return refusals, err
}

// Ledger implements store.Reader.
func (s *Store) Ledger(ctx context.Context, from, to event.Micros) (counts []store.Count, err error) {
	err = s.read(ctx, "read ledger", func(v *snapshot) error {
		return v.each(fmt.Sprintf(ledgerSQL, from, to, from, to), nil, func(scan func(...any) error) error {
			var c store.Count
			err := scan(&c.Minute, &c.Application, &c.Category, &c.Name,
				&c.Received, &c.Stored, &c.Duplicate, &c.Quarantined, &c.Discarded)
			counts = append(counts, c)
			return err
		})
	})
	return counts, err
}

// Size implements store.Reader.
func (s *Store) Size(context.Context) (store.Size, error) {
	return store.Size{
		Events:      s.count.events.Load(),
		Quarantined: s.count.quarantined.Load(),
		Bytes:       s.bytes(),
	}, nil
}
