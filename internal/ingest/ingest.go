// Package ingest is the door: it takes events over HTTP, checks them, and
// answers only when the journal has them on disk.
//
//	body ─▶ read (bounded) ─▶ decode ─▶ check ─▶ records ─▶ journal ─▶ 202
//	                                       └▶ refusals ─┘            ▶ 422 + pointers
//
// Accepted and refused events of a request travel in one batch of records, so a
// request is written whole or not at all. The door never waits without bound
// and never queues: what cannot be taken now is answered 503.
package ingest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/problem"
)

// Appender is the journal as the door sees it.
type Appender interface {
	// Append returns when the records are on disk, with the position of the
	// first; the others follow it. An error may have a method
	// RetryAfter() time.Duration.
	Append(ctx context.Context, records []byte, count int) (event.Position, error)
	// MaxAppendBytes is the most that Append takes at once.
	MaxAppendBytes() int
}

// Outcomes tells what became of records, for senders that wait for it.
type Outcomes interface {
	// Await returns when the record at p has been processed.
	Await(ctx context.Context, p event.Position) error
	// Dispositions are those of the records from first to last, one each.
	Dispositions(ctx context.Context, first, last event.Position) ([]event.Disposition, error)
}

// Limits bound what one request, and all requests together, may take.
type Limits struct {
	EventBytes    int   // one event as sent
	RequestEvents int   // events in one request
	RequestBytes  int   // one body after decompression
	InFlightBytes int64 // of all requests together
}

// Options of a Handler. All but Registerer are needed.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Journal    Appender
	Outcomes   Outcomes
	Receipts   *event.Receipts
	Limits     Limits
	Now        func() time.Time
}

// Handler answers POST /v1/events. The request's context holds the sender's
// access.Principal.
type Handler struct {
	o       Options
	budget  budget
	rates   rates
	metrics *metrics
	warned  atomic.Int64 // second of the last warning about the journal
}

// New makes a Handler.
func New(o Options) *Handler {
	h := &Handler{o: o, metrics: newMetrics(o.Registerer)}
	h.budget.max = o.Limits.InFlightBytes
	h.metrics.inFlight(o.Registerer, &h.budget)
	return h
}

// patience is how long the door waits for the journal: the contract promises an
// answer within five seconds, whatever is broken behind it.
const patience = 4500 * time.Millisecond

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sender := access.FromContext(r.Context())
	if sender == nil {
		panic("ingest: the route must be authenticated")
	}
	limit := h.rates.of(sender)
	if limit != nil {
		now := h.o.Now()
		limit.tell(w.Header(), now)
		if left := limit.TokensAt(now); left < 1 { // not worth reading the body
			h.refuse(w, limit.exceeded(limit.wait(1-left)))
			return
		}
	}
	framing, no := framingOf(r.Header.Get("Content-Type"))
	if no != nil {
		h.refuse(w, no)
		return
	}
	want, no := preferenceOf(r.Header["Prefer"])
	if no != nil {
		h.refuse(w, no)
		return
	}

	q := newRequest(h, sender)
	defer q.release()
	no = q.read(w, r)
	if no != nil && q.body == nil {
		h.refuse(w, no)
		return
	}
	q.receivedAt = event.Now(h.o.Now())
	if no == nil {
		no = q.decode(framing, want.representation || want.wait > 0)
	}
	if no != nil {
		if no.Status != http.StatusBadRequest {
			h.refuse(w, no)
			return
		}
		q.refuseWhole(no)
	}

	giveBack := func() {}
	if limit != nil {
		var over *problem.Problem
		now := h.o.Now()
		giveBack, over = limit.take(now, q.count)
		limit.tell(w.Header(), now)
		if over != nil {
			h.refuse(w, over)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	first, err := h.o.Journal.Append(ctx, q.records, q.count)
	cancel()
	if err != nil {
		giveBack()
		h.unavailable(w, r, err)
		return
	}
	h.metrics.taken(q)
	if no != nil {
		no.Extra = map[string]any{"receipt": h.o.Receipts.Of(first)}
		h.refuse(w, no)
		return
	}
	q.first = first
	h.answer(w, r, q, want)
}

// refuse answers with the problem and counts it.
func (h *Handler) refuse(w http.ResponseWriter, p *problem.Problem) {
	h.metrics.answered(p.Status)
	p.Write(w)
}

// unavailable answers for a journal that did not take the request.
func (h *Handler) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		// The sender has gone; nobody reads this answer. 499 in the metrics, as
		// nginx has it, keeps it apart from our own failures.
		h.metrics.answered(499)
		return
	}
	// All requests fail alike then: one line a second says as much as thousands.
	if now, last := h.o.Now().Unix(), h.warned.Load(); now != last && h.warned.CompareAndSwap(last, now) {
		h.o.Log.Warn("the journal does not take requests", "err", err,
			"request", w.Header().Get(problem.RequestIDHeader))
	}
	retry := time.Second
	if hint := (interface{ RetryAfter() time.Duration })(nil); errors.As(err, &hint) {
		retry = max(retry, hint.RetryAfter())
	}
	h.refuse(w, &problem.Problem{
		Status: http.StatusServiceUnavailable, Type: "journal-unavailable", Title: "The journal cannot take events now",
		Detail:     "Nothing was acknowledged. Send the same events with the same ids again after the time in Retry-After.",
		RetryAfter: retry,
	})
}
