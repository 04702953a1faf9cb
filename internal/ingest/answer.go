package ingest

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/problem"
)

// preference is what the sender asks for in Prefer (RFC 7240).
type preference struct {
	representation bool          // an entry for every event
	wait           time.Duration // the final dispositions, if they are known by then
}

// maxWait is the longest that a sender can ask to wait.
const maxWait = 30 * time.Second

func preferenceOf(headers []string) (preference, *problem.Problem) {
	var p preference
	for _, h := range headers {
		for part := range strings.SplitSeq(h, ",") {
			part, _, _ = strings.Cut(part, ";")
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			value = strings.Trim(strings.TrimSpace(value), `"`)
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "return":
				p.representation = value == "representation"
			case "wait":
				n, err := strconv.Atoi(value)
				if err != nil || n < 0 || time.Duration(n)*time.Second > maxWait {
					return p, &problem.Problem{
						Status: http.StatusBadRequest, Type: "invalid-preference", Title: "Invalid preference",
						Detail: "Prefer: wait must be a whole number of seconds from 0 to 30.",
					}
				}
				p.wait = time.Duration(n) * time.Second
			}
		}
	}
	return p, nil
}

// accepted is the status of an event that is on disk and not yet processed.
const accepted event.Disposition = "accepted"

// answer answers a request that is in the journal.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, q *request, want preference) {
	if len(q.refused) == q.count {
		h.answerRefused(w, q)
		return
	}
	status := http.StatusAccepted
	var fates []event.Disposition
	if want.wait > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), want.wait)
		defer cancel()
		if fates = h.await(ctx, q); fates != nil {
			status = http.StatusOK
			w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(want.wait/time.Second)))
		}
	}
	b := make([]byte, 0, 256)
	if q.batch {
		b = h.appendBatch(b, q, fates, want.representation)
	} else {
		outcome := accepted
		if fates != nil {
			outcome = fates[0]
		}
		b = append(b, `{"status":"`...)
		b = append(append(b, outcome...), '"')
		b = appendMember(b, "id", q.ids[0])
		b = h.appendReceipt(b, q.first)
		b = append(b, '}')
	}
	h.metrics.answered(status)
	header := w.Header()
	header["Content-Type"] = jsonType
	w.WriteHeader(status)
	w.Write(append(b, '\n')) // the sender may be gone; there is nobody left to tell
}

var jsonType = []string{"application/json"}

// await returns the final disposition of each record, nil when they are not
// known in time: then the answer is the one for which nobody waits.
func (h *Handler) await(ctx context.Context, q *request) []event.Disposition {
	last := q.first + event.Position(q.count-1)
	if err := h.o.Outcomes.Await(ctx, last); err != nil {
		return nil
	}
	fates, err := h.o.Outcomes.Dispositions(ctx, q.first, last)
	if err != nil {
		h.o.Log.Warn("dispositions are not to be had", "err", err)
		return nil
	}
	return fates
}

// appendBatch appends the answer to a batch.
func (h *Handler) appendBatch(b []byte, q *request, fates []event.Disposition, all bool) []byte {
	b = append(b, `{"accepted":`...)
	b = strconv.AppendInt(b, int64(q.count-len(q.refused)), 10)
	b = append(b, `,"rejected":`...)
	b = strconv.AppendInt(b, int64(len(q.refused)), 10)
	b = append(b, `,"receipts":{"first":"`...)
	b = h.o.Receipts.Append(b, q.first)
	b = append(b, `","last":"`...)
	b = h.o.Receipts.Append(b, q.first+event.Position(q.count-1))
	b = append(b, `"},"errors":`...)
	b = h.appendErrors(b, q)
	if all || fates != nil {
		b = append(b, `,"results":[`...)
		next := 0 // in q.refused, which is in order
		for i := range q.count {
			if i > 0 {
				b = append(b, ',')
			}
			status := accepted
			if next < len(q.refused) && q.refused[next].index == i {
				status = event.Quarantined
				next++
			}
			if fates != nil {
				status = fates[i]
			}
			b = append(b, `{"index":`...)
			b = strconv.AppendInt(b, int64(i), 10)
			if i < len(q.ids) && q.ids[i] != "" {
				b = appendMember(b, "id", q.ids[i])
			}
			b = appendMember(b, "status", string(status))
			b = h.appendReceipt(b, q.first+event.Position(i))
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// appendErrors appends an entry for each refused event.
func (h *Handler) appendErrors(b []byte, q *request) []byte {
	b = append(b, '[')
	for i, r := range q.refused {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"index":`...)
		b = strconv.AppendInt(b, int64(r.index), 10)
		if r.id != "" {
			b = appendMember(b, "id", r.id)
		}
		b = h.appendReceipt(b, q.first+event.Position(r.index))
		b = event.AppendViolations(append(b, `,"violations":`...), r.violations)
		b = append(b, '}')
	}
	return append(b, ']')
}

// answerRefused answers a request none of whose events was accepted.
func (h *Handler) answerRefused(w http.ResponseWriter, q *request) {
	p := q.refusal()
	if q.batch {
		p.Extra = map[string]any{
			"accepted": 0, "rejected": q.count,
			"receipts": map[string]string{
				"first": h.o.Receipts.Of(q.first),
				"last":  h.o.Receipts.Of(q.first + event.Position(q.count-1)),
			},
			"errors": jsontext.Value(h.appendErrors(nil, q)),
		}
		if q.count == 1 {
			p.Violations = q.refused[0].violations
		}
	} else {
		one := q.refused[0]
		p.Title, p.Detail = "The event was refused", "It lies in quarantine with the rules that it broke."
		p.Violations = one.violations
		p.Extra = map[string]any{"receipt": h.o.Receipts.Of(q.first)}
		if one.id != "" {
			p.Extra["id"] = one.id
		}
	}
	h.refuse(w, p)
}

func (h *Handler) appendReceipt(b []byte, p event.Position) []byte {
	b = append(b, `,"receipt":"`...)
	return append(h.o.Receipts.Append(b, p), '"')
}

// appendMember appends a comma and a member with a string.
func appendMember(b []byte, key, value string) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	b = append(b, '"', ':')
	return appendQuoted(b, value)
}

func appendQuoted(b []byte, s string) []byte {
	b, err := jsontext.AppendQuote(b, s)
	if err != nil {
		// Invalid UTF-8 is written as U+FFFD and reported all the same: a
		// refused event may hold any bytes where its id should be.
		return b
	}
	return b
}
