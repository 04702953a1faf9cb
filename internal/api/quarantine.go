package api

import (
	"net/http"
	"strings"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

func (a *api) listQuarantine(w http.ResponseWriter, r *http.Request) error {
	p, err := paramsOf(r)
	if err != nil {
		return err
	}
	q := store.QuarantineQuery{
		Application: p.text("application"),
		Category:    p.text("category"),
		Name:        p.text("name"),
		Code:        p.code("code"),
		Limit:       p.limit(),
	}
	q.From, q.To = p.period()
	visible := own(access.FromContext(r.Context()), &q.Application)
	f := fingerprintOf("quarantine", q.Application, q.Category, q.Name, string(q.Code), q.From.String(), q.To.String())
	list, err := open(a, w, r, p, f, decodePosition, visible)
	if list == nil {
		return err
	}
	defer list.close()
	page := page[event.Refusal]{
		limit: q.Limit,
		chunk: refusalsChunk,
		fetch: func(after *event.Refusal, limit int) ([]event.Refusal, error) {
			q.Limit, q.Before = limit, 0
			switch {
			case after != nil:
				q.Before = after.Position
			case list.start != nil:
				q.Before = *list.start
			}
			refusals, err := list.reader.Quarantine(list.ctx, q)
			if err != nil {
				return nil, storeError{err}
			}
			return refusals, nil
		},
		render: func(b []byte, refusal *event.Refusal) []byte { return appendRefusal(b, refusal, a.Receipts) },
		next:   func(last *event.Refusal) string { return encodeCursor(f, positionKey(last.Position)) },
	}
	return page.write(w)
}

// code reads the code of a violation.
func (p *params) code(name string) event.Code {
	value := p.text(name)
	if strings.Trim(value, "abcdefghijklmnopqrstuvwxyz_") != "" {
		p.violate(name, impossible, name+" must be the code of a violation, such as required or timestamp_in_future.")
	}
	return event.Code(value)
}

func (a *api) getRefusal(w http.ResponseWriter, r *http.Request) error {
	if err := noParams(r); err != nil {
		return err
	}
	position, err := a.Receipts.Position(r.PathValue("receipt"))
	if err != nil {
		return store.ErrNotFound
	}
	refusal, err := a.refusal(r, position)
	if err != nil {
		return err
	}
	if !own(access.FromContext(r.Context()), &refusal.Application) {
		return store.ErrNotFound
	}
	writeJSON(w, http.StatusOK, appendRefusal(nil, refusal, a.Receipts))
	return nil
}

// refusal is what was refused at position. One that the journal has and the
// store does not have yet will lie in quarantine in a moment; its sender holds
// the receipt already.
func (a *api) refusal(r *http.Request, position event.Position) (*event.Refusal, error) {
	if position.Block() > a.Committed() {
		record, err := a.pending(r.Context(), position)
		switch {
		case err == nil && record.Refusal != nil:
			return record.Refusal, nil
		case err == nil:
			return nil, store.ErrNotFound
		case position.Block() > a.Committed():
			return nil, err
		}
	}
	reader, ctx, cancel, err := a.read(r)
	if err != nil {
		return nil, err
	}
	defer cancel()
	refusal, err := reader.Refusal(ctx, position)
	if err != nil {
		return nil, storeError{err}
	}
	return &refusal, nil
}
