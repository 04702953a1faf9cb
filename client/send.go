package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Outcome is what became of one event of a request.
type Outcome struct {
	ID      string // the event's; "" where neither side knows it
	Receipt string // "" where the answer gave none: ask with SendNow to get one for every event

	// Status is "accepted" (it is on disk), "rejected" or "quarantined" (it is
	// in quarantine), or, when the call waited for processing and that was in
	// time, "stored" or "duplicate". "": the event was not dealt with, because
	// the call failed before; it may or may not have arrived.
	Status string

	// Violations say why the event was refused.
	Violations []Violation
}

// The statuses of an Outcome before processing.
const (
	statusAccepted = "accepted"
	statusRejected = "rejected"
)

// Refused tells whether the server has refused the event. Sending it again
// would not change that.
func (o Outcome) Refused() bool {
	return o.Status == statusRejected || o.Status == "quarantined"
}

// Result is what became of the events of one call, in their order.
type Result struct {
	Outcomes []Outcome
}

// Refused is the number of events that the server has refused.
func (r Result) Refused() int {
	var n int
	for _, o := range r.Outcomes {
		if o.Refused() {
			n++
		}
	}
	return n
}

// Accepted is the number of events that the server has on disk.
func (r Result) Accepted() int {
	var n int
	for _, o := range r.Outcomes {
		if o.Status != "" && !o.Refused() {
			n++
		}
	}
	return n
}

// Err is nil when no event was refused, and says which ones were otherwise.
func (r Result) Err() error {
	var errs []error
	for i, o := range r.Outcomes {
		if !o.Refused() {
			continue
		}
		if len(errs) == 10 {
			errs = append(errs, fmt.Errorf("%d events were refused", r.Refused()))
			break
		}
		err := fmt.Errorf("event %d was refused", i)
		for _, v := range o.Violations {
			err = fmt.Errorf("%w; %s", err, v)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// SendNow sends the events and returns when the server has them on disk, with
// an outcome for each. Refused events are outcomes, not errors; see Result.Err.
//
// On error the outcomes of events that were settled before are there, and the
// others may or may not have arrived. Calling again with the same events is
// harmless if they have ids.
func (c *Client) SendNow(ctx context.Context, events ...Event) (Result, error) {
	return c.send(ctx, 0, events)
}

// SendAndWait is SendNow that returns when the events are processed, so that
// the outcomes are final, but no later than after wait (rounded up to seconds,
// at most 30).
func (c *Client) SendAndWait(ctx context.Context, wait time.Duration, events ...Event) (Result, error) {
	return c.send(ctx, wait, events)
}

func (c *Client) send(ctx context.Context, wait time.Duration, events []Event) (Result, error) {
	lines := make([]json.RawMessage, len(events))
	ids := make([]string, len(events))
	for i, e := range events {
		e.complete()
		line, err := e.encode()
		if err != nil {
			return Result{}, fmt.Errorf("event %d: %w", i, err)
		}
		lines[i], ids[i] = line, e.ID
	}
	r, err := c.SendJSON(ctx, wait, lines...)
	for i := range r.Outcomes {
		if r.Outcomes[i].ID == "" {
			r.Outcomes[i].ID = ids[i]
		}
	}
	return r, err
}

// SendJSON is SendNow, and with wait > 0 SendAndWait, for events that are JSON
// already. They go to the server as they are, right or wrong, but for line
// breaks, which become spaces. It adds no ids: where an event has none, a
// repetition that patience allows may store it twice.
func (c *Client) SendJSON(ctx context.Context, wait time.Duration, events ...json.RawMessage) (Result, error) {
	if len(events) == 0 {
		return Result{}, nil
	}
	lines := make([][]byte, len(events))
	for i, e := range events {
		if len(bytes.TrimSpace(e)) == 0 {
			return Result{}, fmt.Errorf("event %d is empty", i) // the server would skip its line
		}
		lines[i] = oneLine(e)
	}
	r := Result{Outcomes: make([]Outcome, len(lines))}
	var failed error
	pauses := newPauses(c.patience)
	d := delivery{
		client:  c,
		results: true,
		wait:    wait,
		again: func(err error) bool {
			return pauses.again(ctx, err)
		},
		settle: func(b batch, outcomes []Outcome, err error) bool {
			copy(r.Outcomes[b.first:], outcomes)
			failed = err
			return err == nil
		},
	}
	d.deliver(ctx, batch{lines: lines})
	if failed != nil {
		return r, fmt.Errorf("send %d events: %w", len(events), failed)
	}
	return r, nil
}
