package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// batch is a stretch of what a call sends: events as lines of JSON, the first
// of which has index first in the call.
type batch struct {
	first int
	lines [][]byte
}

// halves cuts a batch of two or more events in two.
func (b batch) halves() (batch, batch) {
	mid := len(b.lines) / 2
	return batch{b.first, b.lines[:mid]}, batch{b.first + mid, b.lines[mid:]}
}

// encode makes the body: one event a line, so that none can spoil the others.
// A single one goes as it is, for which the answer is shorter; but not what
// could be taken for a batch.
func (b batch) encode() (body []byte, mediaType string) {
	if len(b.lines) == 1 && b.lines[0][0] == '{' {
		return b.lines[0], "application/json"
	}
	return append(bytes.Join(b.lines, []byte("\n")), '\n'), "application/x-ndjson"
}

// delivery brings batches to the server.
type delivery struct {
	client  *Client
	results bool          // ask for an outcome with id and receipt for every event
	wait    time.Duration // ask to wait that long for processing

	// again waits after a failed request and tells whether to repeat it.
	again func(error) bool

	// settle is told the end of every stretch, in order: outcomes of all its
	// events, or the error that ended the attempts. It returns false to stop.
	settle func(batch, []Outcome, error) bool
}

// deliver sends the batch until every event of it is settled. What is too
// large for one request, or what the server cannot take apart, goes in halves.
func (d *delivery) deliver(ctx context.Context, b batch) bool {
	for {
		outcomes, err := d.try(ctx, b)
		if err == nil {
			return d.settle(b, outcomes, nil)
		}
		if divisible(err) && len(b.lines) > 1 {
			left, right := b.halves()
			return d.deliver(ctx, left) && d.deliver(ctx, right)
		}
		if !d.again(err) {
			return d.settle(b, nil, err)
		}
	}
}

// divisible tells whether parts of a batch may be taken where the whole was not.
func divisible(err error) bool {
	var p *Problem
	return errors.As(err, &p) &&
		(p.Status == http.StatusRequestEntityTooLarge || p.Status == http.StatusBadRequest && p.Receipt != "")
}

// settled reads from a problem what became of the n events of the request. It
// returns false when the problem is about the request and not about its events.
func (p *Problem) settled(n int) ([]Outcome, bool) {
	var a answer
	if json.Unmarshal(p.body, &a) == nil && len(a.Errors) > 0 {
		if outcomes, err := a.outcomes(n); err == nil {
			return outcomes, true
		}
	}
	if n != 1 {
		return nil, false
	}
	o := Outcome{ID: a.ID, Receipt: p.Receipt, Status: statusRejected, Violations: p.Violations}
	switch {
	case p.Receipt != "" && p.Status < 500: // it is in quarantine
	case p.Status == http.StatusRequestEntityTooLarge: // not even that
		if len(o.Violations) == 0 {
			o.Violations = []Violation{{Code: "too_large", Message: cmp.Or(p.Detail, p.Title)}}
		}
	default:
		return nil, false
	}
	return []Outcome{o}, true
}

// answer is the answer to POST /v1/events in both its forms.
type answer struct {
	// about one event
	Status  any    `json:"status"` // a number where the answer is a problem
	ID      string `json:"id"`
	Receipt string `json:"receipt"`

	// about a batch
	Accepted *int `json:"accepted"`
	Rejected int  `json:"rejected"`
	Receipts struct {
		First string `json:"first"`
		Last  string `json:"last"`
	} `json:"receipts"`
	Errors []struct {
		Index      int         `json:"index"`
		ID         string      `json:"id"`
		Receipt    string      `json:"receipt"`
		Violations []Violation `json:"violations"`
	} `json:"errors"`
	Results []struct {
		Index      int         `json:"index"`
		ID         string      `json:"id"`
		Status     string      `json:"status"`
		Receipt    string      `json:"receipt"`
		Violations []Violation `json:"violations"`
	} `json:"results"`
}

// try sends the batch once.
func (d *delivery) try(ctx context.Context, b batch) ([]Outcome, error) {
	body, mediaType := b.encode()
	r := call{
		method: http.MethodPost,
		path:   "/v1/events",
		header: http.Header{"Content-Type": {mediaType}},
		body:   body,
		wait:   d.wait,
	}
	if d.results {
		r.header.Add("Prefer", "return=representation")
	}
	if d.wait > 0 {
		seconds := min(30, (d.wait+time.Second-1)/time.Second) // no more is allowed
		r.header.Add("Prefer", "wait="+strconv.Itoa(int(seconds)))
	}
	if d.client.compress != nil && len(body) >= minCompressed {
		small, err := d.client.compress(body)
		if err != nil {
			return nil, err
		}
		r.body = small
		r.header.Set("Content-Encoding", d.client.encoding)
	}
	var a answer
	err := d.client.once(ctx, r, &a)
	if err == nil {
		return a.outcomes(len(b.lines))
	}
	if p := (*Problem)(nil); errors.As(err, &p) {
		if outcomes, ok := p.settled(len(b.lines)); ok {
			return outcomes, nil
		}
	}
	return nil, err
}

// outcomes of the n events that were sent.
func (a *answer) outcomes(n int) ([]Outcome, error) {
	out := make([]Outcome, n)
	if a.Accepted == nil && len(a.Errors) == 0 {
		return a.outcomeOfOne(out)
	}
	status := statusAccepted
	if a.Accepted == nil || *a.Accepted == 0 {
		status = statusRejected // all of them, even if the answer does not list each
	}
	for i := range out {
		out[i].Status = status
	}
	for _, r := range a.Results {
		if r.Index < 0 || r.Index >= n {
			return nil, fmt.Errorf("%w: it has a result for event %d of %d", errAnswer, r.Index, n)
		}
		out[r.Index] = Outcome{ID: r.ID, Receipt: r.Receipt, Status: r.Status, Violations: r.Violations}
	}
	for _, e := range a.Errors {
		if e.Index < 0 || e.Index >= n {
			return nil, fmt.Errorf("%w: it refuses event %d of %d", errAnswer, e.Index, n)
		}
		o := &out[e.Index]
		switch o.Status {
		case statusAccepted, "pending", "":
			o.Status = statusRejected
		}
		o.ID, o.Receipt, o.Violations = cmp.Or(e.ID, o.ID), e.Receipt, e.Violations
	}
	if a.Receipts.First != "" && out[0].Receipt == "" {
		out[0].Receipt = a.Receipts.First
	}
	if a.Receipts.Last != "" && out[n-1].Receipt == "" {
		out[n-1].Receipt = a.Receipts.Last
	}
	var refused int
	for _, o := range out {
		if o.Refused() {
			refused++
		}
	}
	if a.Accepted != nil && *a.Accepted+a.Rejected != n || refused < a.Rejected {
		return nil, fmt.Errorf("%w: it does not account for all of the %d events", errAnswer, n)
	}
	return out, nil
}

// outcomeOfOne reads the answer about a single event.
func (a *answer) outcomeOfOne(out []Outcome) ([]Outcome, error) {
	status, ok := a.Status.(string)
	if !ok || len(out) != 1 {
		return nil, fmt.Errorf("%w: it does not say what became of %d events", errAnswer, len(out))
	}
	out[0] = Outcome{ID: a.ID, Receipt: a.Receipt, Status: status}
	return out, nil
}
