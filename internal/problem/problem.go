// Package problem is how The Eye says no over HTTP: RFC 9457
// application/problem+json, the same shape from every route.
//
// Nothing internal belongs into a problem: no error text of a library, no path,
// no SQL. Such things go to the log under the request's id.
package problem

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/the-eye/eye/internal/event"
)

// RequestIDHeader carries the request's id, in the answer and, when the caller
// has one of its own, in the request.
const RequestIDHeader = "X-Request-Id"

// Problem is one refusal. Status and Title are required.
type Problem struct {
	Status     int
	Type       string            // a stable slug below /problems/; "" means about:blank
	Title      string            // the same for every problem of this Type
	Detail     string            // about this one: what is wrong and what to do
	Violations []event.Violation // where the request's events broke rules
	RetryAfter time.Duration     // rounded up to whole seconds; 0: no header
	Extra      map[string]any    // further members, e.g. receipt
}

// Error makes a Problem usable as an error.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// Write answers with the problem. The request's id is taken from the answer's
// RequestIDHeader, which the outermost handler has set.
func (p *Problem) Write(w http.ResponseWriter) {
	body := map[string]any{"status": p.Status, "title": p.Title, "type": "about:blank"}
	if p.Type != "" {
		body["type"] = "/problems/" + p.Type
	}
	if p.Detail != "" {
		body["detail"] = p.Detail
	}
	if id := w.Header().Get(RequestIDHeader); id != "" {
		body["request_id"] = id
	}
	if len(p.Violations) > 0 {
		body["violations"] = p.Violations
	}
	for k, v := range p.Extra {
		body[k] = v
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.RetryAfter+time.Second-1)/time.Second)))
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // it is JSON, not HTML: what is quoted stays readable
	if err := encoder.Encode(body); err != nil {
		panic("problem: members are plain values: " + err.Error())
	}
	w.WriteHeader(p.Status)
	w.Write(text.Bytes()) // the reader may be gone; there is nobody left to tell
}
