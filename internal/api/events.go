package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// own narrows the filter by application to what the principal may see. It is
// false when nothing can be seen.
func own(who *access.Principal, application *string) bool {
	if who.ReadsAll() {
		return true
	}
	if *application != "" && *application != who.Application {
		return false
	}
	*application = who.Application
	return true
}

// emptyPage is a list in which nothing is to be seen.
const emptyPage = `{"items":[],"next":null}`

func (a *api) listEvents(w http.ResponseWriter, r *http.Request) error {
	p, err := paramsOf(r)
	if err != nil {
		return err
	}
	q := store.EventQuery{Filter: p.filter(), Limit: p.limit()}
	// A session is read from its beginning, everything else from what is new.
	q.Descending = p.descending(q.SessionID == "")
	visible := own(access.FromContext(r.Context()), &q.Application)
	return a.writeEvents(w, r, p, "events", q, visible, false)
}

// writeEvents answers with a page of events. With found, a first page without
// any event is not found.
func (a *api) writeEvents(w http.ResponseWriter, r *http.Request, p *params, name string, q store.EventQuery, visible, found bool) error {
	f := fingerprintOf(name, appendFilter([]string{strconv.FormatBool(q.Descending)}, &q.Filter)...)
	list, err := open(a, w, r, p, f, decodeOrder, visible)
	if list == nil {
		return err
	}
	defer list.close()
	page := page[store.Row]{
		limit: q.Limit,
		chunk: eventsChunk,
		fetch: func(after *store.Row, limit int) ([]store.Row, error) {
			q.Limit, q.After = limit, list.start
			if after != nil {
				o := after.Order()
				q.After = &o
			}
			rows, err := list.reader.Events(list.ctx, q)
			if err != nil {
				return nil, storeError{err}
			}
			return rows, nil
		},
		render: func(b []byte, row *store.Row) []byte { return AppendEvent(b, row, a.Receipts) },
		next:   func(last *store.Row) string { return encodeCursor(f, orderKey(last.Order())) },
	}
	return page.writeUnless(w, func(count int) error {
		if found && count == 0 && list.start == nil {
			return store.ErrNotFound
		}
		return nil
	})
}

func (a *api) getEvent(w http.ResponseWriter, r *http.Request) error {
	if err := noParams(r); err != nil {
		return err
	}
	key := event.Key{Application: r.PathValue("application"), ID: r.PathValue("id")}
	if !own(access.FromContext(r.Context()), &key.Application) {
		return store.ErrNotFound
	}
	reader, ctx, cancel, err := a.read(r)
	if err != nil {
		return err
	}
	defer cancel()
	row, err := reader.Event(ctx, key)
	if err != nil {
		return storeError{err}
	}
	writeJSON(w, http.StatusOK, AppendEvent(nil, &row, a.Receipts))
	return nil
}

func (a *api) listSessions(w http.ResponseWriter, r *http.Request) error {
	p, err := paramsOf(r)
	if err != nil {
		return err
	}
	q := store.SessionQuery{Application: p.text("application"), Contains: p.eventType("contains"), Limit: p.limit()}
	q.From, q.To = p.period()
	visible := own(access.FromContext(r.Context()), &q.Application)
	filters := []string{q.Application, q.From.String(), q.To.String()}
	if q.Contains != nil {
		filters = append(filters, q.Contains.Category, q.Contains.Name)
	}
	f := fingerprintOf("sessions", filters...)
	list, err := open(a, w, r, p, f, decodeSessionKey, visible)
	if list == nil {
		return err
	}
	defer list.close()
	page := page[store.Session]{
		limit: q.Limit,
		chunk: maxLimit + 1,
		fetch: func(after *store.Session, limit int) ([]store.Session, error) {
			q.Limit, q.After = limit, list.start
			if after != nil {
				q.After = &store.SessionKey{FirstTimestamp: after.FirstTimestamp, ID: after.ID}
			}
			sessions, err := list.reader.Sessions(list.ctx, q)
			if err != nil {
				return nil, storeError{err}
			}
			return sessions, nil
		},
		render: appendSession,
		next: func(last *store.Session) string {
			return encodeCursor(f, sessionKey(store.SessionKey{FirstTimestamp: last.FirstTimestamp, ID: last.ID}))
		},
	}
	return page.write(w)
}

func (a *api) getSession(w http.ResponseWriter, r *http.Request) error {
	if err := noParams(r); err != nil {
		return err
	}
	application := ""
	own(access.FromContext(r.Context()), &application)
	reader, ctx, cancel, err := a.read(r)
	if err != nil {
		return err
	}
	defer cancel()
	session, err := reader.Session(ctx, r.PathValue("session_id"), application)
	if err != nil {
		return storeError{err}
	}
	writeJSON(w, http.StatusOK, appendSession(nil, &session))
	return nil
}

func (a *api) listSessionEvents(w http.ResponseWriter, r *http.Request) error {
	p, err := paramsOf(r)
	if err != nil {
		return err
	}
	q := store.EventQuery{Filter: store.Filter{SessionID: r.PathValue("session_id")}, Limit: p.limit()}
	own(access.FromContext(r.Context()), &q.Application)
	return a.writeEvents(w, r, p, "session", q, true, true)
}

func (a *api) getReceipt(w http.ResponseWriter, r *http.Request) error {
	if err := noParams(r); err != nil {
		return err
	}
	receipt := r.PathValue("receipt")
	position, err := a.Receipts.Position(receipt)
	if err != nil {
		return store.ErrNotFound
	}
	outcome, err := a.outcome(r, position)
	if err != nil {
		return err
	}
	// Of what was deleted nobody knows the sender. The receipt itself, which
	// cannot be guessed, has to do.
	who := access.FromContext(r.Context())
	if !who.ReadsAll() && outcome.Application != who.Application && outcome.Disposition != event.Deleted {
		return store.ErrNotFound
	}
	b := append(make([]byte, 0, 1024), `{"receipt":"`...)
	b = append(b, receipt...)
	b = append(b, '"')
	b = appendText(b, "disposition", string(outcome.Disposition))
	b = append(b, `,"event":`...)
	if outcome.Event != nil {
		b = AppendEvent(b, outcome.Event, a.Receipts)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"violations":`...)
	b = event.AppendViolations(b, outcome.Violations)
	writeJSON(w, http.StatusOK, append(b, '}'))
	return nil
}

// outcome tells what became of the record at position, or that it is pending.
func (a *api) outcome(r *http.Request, position event.Position) (store.Outcome, error) {
	if position.Block() > a.Committed() {
		record, err := a.pending(r.Context(), position)
		switch {
		case err == nil && record.Event != nil:
			return store.Outcome{Disposition: event.Pending, Application: record.Event.Application}, nil
		case err == nil && record.Refusal != nil:
			return store.Outcome{Disposition: event.Pending, Application: record.Refusal.Application, Violations: record.Refusal.Violations}, nil
		case position.Block() > a.Committed():
			return store.Outcome{}, err
		}
		// It was processed, and left the journal, in between.
	}
	reader, ctx, cancel, err := a.read(r)
	if err != nil {
		return store.Outcome{}, err
	}
	defer cancel()
	outcome, err := reader.Outcome(ctx, position)
	if err != nil {
		return store.Outcome{}, storeError{err}
	}
	return outcome, nil
}

// pending reads a record that is not processed yet.
func (a *api) pending(ctx context.Context, position event.Position) (event.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, a.ReadTimeout)
	defer cancel()
	record, err := a.Pending(ctx, position)
	if err != nil {
		return event.Record{}, storeError{err}
	}
	return record, nil
}

// noParams refuses any parameter.
func noParams(r *http.Request) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	p, err := paramsOf(r)
	if err != nil {
		return err
	}
	return p.check()
}
