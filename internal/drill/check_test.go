package drill_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/the-eye/eye/internal/event"
)

// row is an event as it is read back.
type row struct {
	Application string          `json:"application"`
	ID          string          `json:"id"`
	SessionID   string          `json:"session_id"`
	Category    string          `json:"category"`
	Name        string          `json:"name"`
	Data        json.RawMessage `json:"data"`
	Timestamp   string          `json:"timestamp"`
	Sequence    *int64          `json:"sequence"`
	Position    int64           `json:"position"`
	Receipt     string          `json:"receipt"`
}

// content of the row, and its order.
func (r *row) content() (*content, error) {
	at, ok := event.ParseTimestamp(r.Timestamp)
	if !ok || at.String() != r.Timestamp {
		return nil, fmt.Errorf("timestamp %q is not written as promised", r.Timestamp)
	}
	c := &content{session: r.SessionID, category: r.Category, name: r.Name, data: string(r.Data), timestamp: at, sequence: event.NoSequence}
	if r.Sequence != nil {
		c.sequence = *r.Sequence
	}
	return c, nil
}

// verify checks that the row is what the promises say of its event, and returns
// its order.
func (b *book) verify(r *row) (*entry, event.Order, error) {
	c, err := r.content()
	if err != nil {
		return nil, event.Order{}, err
	}
	position, err := b.receipts.Position(r.Receipt)
	if err != nil {
		return nil, event.Order{}, fmt.Errorf("receipt %q: %w", r.Receipt, err)
	}
	order := event.Order{Timestamp: c.timestamp, Sequence: c.sequence, Position: position}
	e := b.events[event.Key{Application: r.Application, ID: r.ID}]
	if e == nil {
		return nil, order, fmt.Errorf("nobody sent it")
	}
	first := e.acknowledged()
	if first != nil && first.position < position {
		return e, order, fmt.Errorf("it is stored from position %d, although an earlier one, %d, was acknowledged", position, first.position)
	}
	// Stored is the first that got in: the first acknowledged one, or one
	// before it that nobody knows of.
	for _, a := range e.attempts {
		if a.position != 0 && a.position != position {
			continue
		}
		if a.content.same(c) {
			return e, order, nil
		}
	}
	return e, order, fmt.Errorf("it says what nobody sent: %+v; the first acknowledged: %+v", c, first)
}

// checkRecent checks everything that was promised since it was called last:
// sessions, receipts and dispositions.
func (d *drill) checkRecent(s *server, c *client) {
	d.t.Helper()
	sessions, attempts := d.book.settled()
	slices.Sort(sessions)
	stored := make(map[*entry]event.Position)
	for _, id := range sessions {
		d.checkSession(c, id, stored)
	}
	for _, i := range d.rand.Perm(len(attempts))[:min(len(attempts), 40)] {
		d.checkReceipt(c, attempts[i], stored)
	}
	for _, a := range attempts {
		d.checkSaid(a, stored)
	}
	d.report(s)
	if d.t.Failed() {
		d.t.FailNow()
	}
}

// checkSession reads a session back, in pages of a random size.
func (d *drill) checkSession(c *client, id string, stored map[*entry]event.Position) {
	d.t.Helper()
	var last event.Order
	var place int64
	limit := 50 + d.rand.IntN(950)
	err := pages(d.t.Context(), c, "/v1/sessions/"+url.PathEscape(id)+"/events", url.Values{}, limit, func(r row) error {
		e, order, err := d.book.verify(&r)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", r.Application, r.ID, err)
		}
		if place++; r.Position != place {
			return fmt.Errorf("%v has position %d; want %d", e, r.Position, place)
		}
		if place > 1 && last.Compare(order) >= 0 {
			return fmt.Errorf("%v at %+v follows %+v", e, order, last)
		}
		last = order
		if _, twice := stored[e]; twice {
			return fmt.Errorf("%v is stored twice", e)
		}
		stored[e] = order.Position
		return nil
	})
	if err != nil {
		d.t.Errorf("session %s: %v", id, err)
	}
	for _, e := range d.book.bySession[id] {
		if first := e.acknowledged(); first != nil && stored[e] == 0 {
			d.t.Errorf("LOST: %v, acknowledged at position %d (block %d) with receipt %s, is not in its session %s",
				e, first.position, first.position.Block(), d.book.receipts.Of(first.position), id)
		}
	}
}

// checkReceipt asks what became of an attempt.
func (d *drill) checkReceipt(c *client, a *attempt, stored map[*entry]event.Position) {
	d.t.Helper()
	receipt := d.book.receipts.Of(a.position)
	var got struct {
		Disposition event.Disposition
		Event       *row
		Violations  []event.Violation
	}
	if status, err := c.get(d.t.Context(), "/v1/receipts/"+receipt, &got); err != nil || status != http.StatusOK {
		d.t.Errorf("receipt of %v at %d: status %d, %v", a.entry, a.position, status, err)
		return
	}
	want := a.disposition(stored)
	if got.Disposition != want {
		d.t.Errorf("receipt of %v at %d: %s; want %s", a.entry, a.position, got.Disposition, want)
		return
	}
	if want == event.Quarantined {
		d.checkRefusal(c, a, len(got.Violations))
		return
	}
	if got.Event == nil || got.Event.Receipt != d.book.receipts.Of(stored[a.entry]) {
		d.t.Errorf("receipt of %v at %d shows %+v, which is not what is stored at %d", a.entry, a.position, got.Event, stored[a.entry])
		return
	}
	if want == event.Duplicate {
		original, err := got.Event.content()
		if err != nil {
			d.t.Errorf("receipt of %v: %v", a.entry, err)
			return
		}
		conflict := len(got.Violations) == 1 && got.Violations[0].Code == event.IDConflict
		if conflict == original.same(a.content) || !conflict && len(got.Violations) > 0 {
			d.t.Errorf("receipt of the duplicate %v at %d: violations %v; same content: %v", a.entry, a.position, got.Violations, original.same(a.content))
		}
	}
}

// disposition is what must have become of an acknowledged attempt.
func (a *attempt) disposition(stored map[*entry]event.Position) event.Disposition {
	switch {
	case a.content == nil:
		return event.Quarantined
	case stored[a.entry] == a.position:
		return event.Stored
	default:
		return event.Duplicate
	}
}

// checkRefusal reads what was refused from quarantine.
func (d *drill) checkRefusal(c *client, a *attempt, violations int) {
	d.t.Helper()
	var got refusalRow
	path := "/v1/quarantine/" + d.book.receipts.Of(a.position)
	if status, err := c.get(d.t.Context(), path, &got); err != nil || status != http.StatusOK {
		d.t.Errorf("%v at %d is not in quarantine: status %d, %v", a.entry, a.position, status, err)
		return
	}
	if original, err := got.bytes(); err != nil || original != a.entry.original || violations == 0 {
		d.t.Errorf("%v lies in quarantine as %q with %d violations (%v)", a.entry, original, violations, err)
	}
}

// refusalRow is an item of quarantine.
type refusalRow struct {
	Receipt        string  `json:"receipt"`
	Application    string  `json:"application"`
	Original       *string `json:"original"`
	OriginalBase64 string  `json:"original_base64"`
}

func (r *refusalRow) bytes() (string, error) {
	if r.Original != nil {
		return *r.Original, nil
	}
	b, err := base64.StdEncoding.DecodeString(r.OriginalBase64)
	return string(b), err
}

// checkSaid checks a disposition that a sender had waited for.
func (d *drill) checkSaid(a *attempt, stored map[*entry]event.Position) {
	if want := a.disposition(stored); a.said != "" && a.said != want {
		d.t.Errorf("the sender of %v at %d was told %q; it is %q", a.entry, a.position, a.said, want)
	}
}

// checkAll reads everything back: all events in one list, and quarantine.
func (d *drill) checkAll(s *server, c *client) {
	d.t.Helper()
	stored := make(map[*entry]event.Position)
	places := make(map[string]int64)
	var last event.Order
	err := pages(d.t.Context(), c, "/v1/events", url.Values{"order": {"asc"}}, 1000, func(r row) error {
		e, order, err := d.book.verify(&r)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", r.Application, r.ID, err)
		}
		if len(stored) > 0 && last.Compare(order) >= 0 {
			return fmt.Errorf("%v at %+v follows %+v", e, order, last)
		}
		last = order
		if _, twice := stored[e]; twice {
			return fmt.Errorf("%v is stored twice", e)
		}
		stored[e] = order.Position
		if places[r.SessionID]++; r.Position != places[r.SessionID] {
			return fmt.Errorf("%v has position %d; want %d", e, r.Position, places[r.SessionID])
		}
		return nil
	})
	if err != nil {
		d.t.Errorf("read all events: %v", err)
	}
	for _, e := range d.book.order {
		if first := e.acknowledged(); first != nil && stored[e] == 0 {
			d.t.Errorf("LOST: %v, acknowledged at position %d", e, first.position)
		}
		for _, a := range e.attempts {
			if a.position != 0 {
				d.checkSaid(a, stored)
			}
		}
	}
	d.checkQuarantine(c)
	d.report(s)
	if d.t.Failed() {
		d.t.FailNow()
	}
}

// checkQuarantine reads all of quarantine: what was refused with a receipt is
// there under it, and nothing more often than it was sent.
func (d *drill) checkQuarantine(c *client) {
	d.t.Helper()
	lying := make(map[event.Position]*entry)
	times := make(map[*entry]int)
	err := pages(d.t.Context(), c, "/v1/quarantine", url.Values{}, 1000, func(r refusalRow) error {
		original, err := r.bytes()
		if err != nil {
			return err
		}
		e := d.book.refused[original]
		if e == nil || e.application != r.Application {
			return fmt.Errorf("%s in quarantine of %s: nobody sent %q", r.Receipt, r.Application, original)
		}
		p, err := d.book.receipts.Position(r.Receipt)
		if err != nil {
			return err
		}
		lying[p] = e
		if times[e]++; times[e] > len(e.attempts) {
			return fmt.Errorf("%v was sent %d times and lies in quarantine more often", e, len(e.attempts))
		}
		return nil
	})
	if err != nil {
		d.t.Errorf("read quarantine: %v", err)
	}
	for _, e := range d.book.refused {
		for _, a := range e.attempts {
			if a.position != 0 && lying[a.position] != e {
				d.t.Errorf("LOST: %v, refused with a receipt at %d, is not in quarantine under it", e, a.position)
			}
		}
	}
}
