package ingest

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/gofrs/uuid/v5"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/problem"
)

// request is one request on its way through the door. Requests are used again:
// nothing of one may be kept after release.
type request struct {
	h      *Handler
	sender *access.Principal

	sent, decoded body
	body          []byte // the one of the two that holds events
	receivedAt    event.Micros

	decoder event.Decoder
	records []byte // as the journal takes them
	count   int    // records
	batch   bool   // answer as for a batch
	refused []refused
	ids     []string // of every event, if the sender wants to know
	first   event.Position
}

// refused is one event that the door did not let in.
type refused struct {
	index      int
	id         string
	violations []event.Violation
}

var requests = sync.Pool{New: func() any { return new(request) }}

func newRequest(h *Handler, sender *access.Principal) *request {
	q := requests.Get().(*request)
	q.h, q.sender = h, sender
	q.sent.budget, q.decoded.budget = &h.budget, &h.budget
	return q
}

func (q *request) release() {
	q.sent.release()
	q.decoded.release()
	q.decoder.Reset(nil, event.JSON, event.Rules{})
	if cap(q.records) > keepBytes {
		q.records = nil
	}
	clear(q.refused)
	clear(q.ids)
	*q = request{
		sent: q.sent, decoded: q.decoded, decoder: q.decoder,
		records: q.records[:0], refused: q.refused[:0], ids: q.ids[:0],
	}
	requests.Put(q)
}

// decode makes records of the events in the body. Where it returns a problem,
// nothing of the request is to be accepted.
func (q *request) decode(framing event.Framing, wantIDs bool) *problem.Problem {
	limits := q.h.o.Limits
	q.decoder.Reset(q.body, framing, event.Rules{
		Now:       q.receivedAt,
		Tolerance: event.Micros(q.sender.FutureTolerance.Microseconds()),
		MaxBytes:  limits.EventBytes,
	})
	q.records = event.AppendHeader(q.records[:0], q.sender.Application, q.receivedAt)
	for {
		more, err := q.decoder.Next()
		if err != nil {
			return badRequest(event.SyntaxViolation(err, 0))
		}
		if !more {
			break
		}
		if q.count == limits.RequestEvents {
			return tooLarge(fmt.Sprintf("A request may hold at most %d events. Send fewer at once.", limits.RequestEvents))
		}
		id := q.one(framing)
		if wantIDs || !q.decoder.Batch() {
			q.ids = append(q.ids, id)
		}
		q.count++
		// Asked after each event: many small ones with many violations each need
		// far more memory than they have bytes.
		if n := q.h.o.Journal.MaxAppendBytes(); len(q.records) > n {
			return tooLarge(fmt.Sprintf("The events, with the violations of those that are refused, need more than the %d bytes that the journal takes at once. Send fewer events at once.", n))
		}
	}
	if q.batch = q.decoder.Batch(); q.count == 0 {
		return badRequest(event.Violation{Code: event.Required, Message: "the batch is empty; send at least one event"})
	}
	return nil
}

// one makes a record of the event that the decoder stands on and returns its id,
// which lies in the body unless the server gave it.
func (q *request) one(framing event.Framing) string {
	e, violations := q.decoder.Event(), q.decoder.Violations()
	if len(violations) == 0 && !q.sender.MaySend(e.Type()) {
		violations = []event.Violation{{
			Pointer: "", Code: event.NotAllowed,
			Message: fmt.Sprintf("application %s may not send events of type %s/%s", q.sender.Application, e.Category, e.Name),
		}}
	}
	if len(violations) > 0 {
		r := &event.Refusal{
			ID: e.ID, SessionID: e.SessionID, Category: e.Category, Name: e.Name,
			Violations: append([]event.Violation(nil), violations...), Original: q.decoder.Raw(),
		}
		q.records = event.AppendRefusal(q.records, r)
		q.refused = append(q.refused, refused{q.count, e.ID, r.Violations})
		return e.ID
	}
	if e.ID == "" {
		e.ID = newID()
	}
	q.records = event.AppendEvent(q.records, e, q.receivedAt)
	return e.ID
}

// newID is the id of an event whose sender gave none.
func newID() string {
	id, err := uuid.NewV7()
	if err != nil {
		panic("ingest: no randomness: " + err.Error()) // crypto/rand never fails on Linux
	}
	return id.String()
}

// refuseWhole makes one refusal of the whole body.
func (q *request) refuseWhole(p *problem.Problem) {
	q.refused = append(q.refused[:0], refused{violations: p.Violations})
	q.records = event.AppendHeader(q.records[:0], q.sender.Application, q.receivedAt)
	q.records = event.AppendRefusal(q.records, &event.Refusal{Violations: p.Violations, Original: q.body})
	q.count = 1
}

// refusal is the problem of a request none of whose events was accepted.
func (q *request) refusal() *problem.Problem {
	p := &problem.Problem{
		Status: http.StatusUnprocessableEntity, Type: "refused", Title: "No event was accepted",
		Detail: "Each event lies in quarantine with the rules that it broke.",
	}
	only := func(code event.Code) bool {
		for _, r := range q.refused {
			for _, v := range r.violations {
				if v.Code != code {
					return false
				}
			}
		}
		return true
	}
	switch {
	case only(event.TooLarge):
		p.Status, p.Type = http.StatusRequestEntityTooLarge, "too-large"
	case only(event.NotAllowed):
		p.Status, p.Type = http.StatusForbidden, "not-allowed"
	}
	return p
}
