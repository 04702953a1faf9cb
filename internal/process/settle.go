package process

import (
	"context"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// settle decides what becomes of each record of the batch: the first event with
// a key is stored, later ones are duplicates of it, refusals go to quarantine.
func settle(ctx context.Context, st store.Writer, b *batch) (*store.Batch, error) {
	out := &store.Batch{Block: b.last, Events: make([]event.Event, 0, b.events)}
	keys := make([]event.Key, 0, b.events)
	for _, d := range b.blocks {
		for i := range d.events {
			keys = append(keys, d.events[i].Key())
		}
	}
	before, err := st.Existing(ctx, keys)
	if err != nil {
		return nil, err
	}
	counts := tally{}
	here := make(map[event.Key]int, len(keys)) // index in out.Events
	n := 0
	for _, d := range b.blocks {
		for i := range d.events {
			e := &d.events[i]
			original := before[n]
			if original.Position == 0 {
				if at, ok := here[keys[n]]; ok {
					first := &out.Events[at]
					original = store.Original{Position: first.Position, Digest: first.Digest()}
				}
			}
			if n++; original.Position != 0 {
				out.Duplicates = append(out.Duplicates, store.Duplicate{
					Position: e.Position, Original: original.Position, Application: e.Application,
					Conflict: original.Digest != e.Digest(),
				})
				counts.of(e.ReceivedAt, e.Application, e.Type()).Duplicate++
				continue
			}
			here[keys[n-1]] = len(out.Events)
			out.Events = append(out.Events, *e)
			counts.of(e.ReceivedAt, e.Application, e.Type()).Stored++
		}
		for i := range d.refusals {
			r := &d.refusals[i]
			counts.of(r.ReceivedAt, r.Application, event.Type{Category: r.Category, Name: r.Name}).Quarantined++
		}
		out.Refusals = append(out.Refusals, d.refusals...)
	}
	out.Counts = counts.rows()
	return out, nil
}

// tally collects the changes of ledger rows.
type tally map[tallyKey]*store.Count

type tallyKey struct {
	minute      event.Micros
	application string
	kind        event.Type
}

const minute = event.Micros(60e6)

// of is the row for a record.
func (t tally) of(receivedAt event.Micros, application string, kind event.Type) *store.Count {
	key := tallyKey{receivedAt - receivedAt%minute, application, kind}
	row := t[key]
	if row == nil {
		row = &store.Count{Minute: key.minute, Application: application, Category: kind.Category, Name: kind.Name}
		t[key] = row
	}
	return row
}

func (t tally) rows() []store.Count {
	rows := make([]store.Count, 0, len(t))
	for _, row := range t {
		row.Received = row.Stored + row.Duplicate + row.Quarantined + row.Discarded
		rows = append(rows, *row)
	}
	return rows
}
