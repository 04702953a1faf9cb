package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Violation is one reason why an event was refused, or marked.
type Violation struct {
	Pointer string `json:"pointer"`           // JSON Pointer (RFC 6901) into the event as sent; "" is the event itself
	Code    string `json:"code"`              // e.g. required, schema; listed in the API's reference
	Keyword string `json:"keyword,omitempty"` // the payload rule that failed, with code schema
	Message string `json:"message"`
}

func (v Violation) String() string {
	if v.Pointer == "" {
		return v.Code + ": " + v.Message
	}
	return v.Pointer + ": " + v.Code + ": " + v.Message
}

// Problem is the server's no to a request (RFC 9457). Find it with errors.As.
type Problem struct {
	Type       string        `json:"type"`
	Title      string        `json:"title"`
	Status     int           `json:"status"`
	Detail     string        `json:"detail"`
	RequestID  string        `json:"request_id"` // names the request in the server's log
	Violations []Violation   `json:"violations"`
	Receipt    string        `json:"receipt"` // of what went into quarantine with this request, if so
	RetryAfter time.Duration `json:"-"`       // what the server asks to wait; 0: nothing said

	body []byte // as it came
}

// Error says what the server said, and what to do about it.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", p.Status, p.Title)
	if p.Detail != "" {
		b.WriteString(": " + p.Detail)
	}
	for i, v := range p.Violations {
		if i == 3 {
			fmt.Fprintf(&b, "; and %d more", len(p.Violations)-i)
			break
		}
		b.WriteString("; " + v.String())
	}
	if hint := p.hint(); hint != "" {
		b.WriteString(" (" + hint + ")")
	}
	if p.RequestID != "" {
		b.WriteString(" [request " + p.RequestID + "]")
	}
	return b.String()
}

// hint is what the caller can do, where the status alone tells.
func (p *Problem) hint() string {
	switch p.Status {
	case http.StatusUnauthorized:
		return "check the key: it may be mistyped, expired or revoked"
	case http.StatusForbidden:
		return "the key is valid, but its application needs a scope or an event type that it does not have"
	case http.StatusTooManyRequests:
		return "the application is over its rate limit: send slower, or ask for a higher limit" + p.waitHint()
	case http.StatusServiceUnavailable:
		return "the server cannot take it now and has kept nothing of it: try again" + p.waitHint()
	}
	return ""
}

func (p *Problem) waitHint() string {
	if p.RetryAfter == 0 {
		return ""
	}
	return " in " + p.RetryAfter.String()
}

// maxProblem bounds how much of a refusal is read. That of a batch names every
// event of it.
const maxProblem = 64 << 20

// problemOf reads a refusal. The answer may come from something on the way
// that knows nothing of problems.
func problemOf(resp *http.Response) *Problem {
	p := &Problem{}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	isProblem := err == nil && (kind == "application/problem+json" || kind == "application/json") && json.Unmarshal(body, p) == nil
	if !isProblem {
		*p = Problem{Detail: "the answer is not from The Eye, but perhaps from a proxy on the way"}
		body = nil
	}
	p.body = body
	p.Status = resp.StatusCode
	if p.Title == "" {
		p.Title = http.StatusText(resp.StatusCode)
	}
	p.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	return p
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(h string, now time.Time) time.Duration {
	if h == "" {
		return 0
	}
	if s, err := strconv.ParseUint(h, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(h); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// temporary tells whether the same request may succeed later, and how long the
// server asks to wait before.
func temporary(err error) (time.Duration, bool) {
	var p *Problem
	switch {
	case errors.As(err, &p):
		switch p.Status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
			return p.RetryAfter, true
		}
		return p.RetryAfter, p.Status >= 500 && p.Status != http.StatusNotImplemented
	case errors.Is(err, errAnswer):
		return 0, false // whoever answers that will not change its mind
	}
	return 0, true // no connection, one that broke, or something in between that answers rubbish
}

// errAnswer: the answer does not keep the contract.
var errAnswer = errors.New("answer not understood")
