package drill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/the-eye/eye/internal/event"
)

// workers send at the same time.
const workers = 6

// load sends until ctx is done or the server is gone, and first what the round
// before had no answer for. What has no answer now is kept for the next round.
func (d *drill) load(ctx context.Context, s *server, c *client) {
	var wait sync.WaitGroup
	d.loads++
	for i := range workers {
		composer := &composer{
			book: d.book, rand: rand.New(rand.NewPCG(d.seed, uint64(d.loads*workers+i))),
			name: fmt.Sprintf("%d.%d", d.loads, i), senders: d.senders, start: d.start, sessions: d.sessions(),
		}
		wait.Go(func() { d.work(ctx, s, c, composer) })
	}
	wait.Wait()
}

// work is one worker.
func (d *drill) work(ctx context.Context, s *server, c *client, composer *composer) {
	for ctx.Err() == nil && !s.ended() {
		q := d.nextRetry()
		if q == nil {
			q = composer.request()
		}
		copies := 1
		if composer.rand.IntN(30) == 0 {
			copies = 2 // the same again, at the same time
		}
		var wait sync.WaitGroup
		for range copies {
			wait.Go(func() { d.send(s, c, q) })
		}
		wait.Wait()
		select { // a few hundred requests a second make rounds that can be read back quickly
		case <-time.After(time.Duration(composer.rand.Int64N(int64(d.pace)))):
		case <-s.gone:
		case <-ctx.Done():
		}
	}
}

// nextRetry is a request from the round before that has no answer yet, nil when
// there is none.
func (d *drill) nextRetry() *request {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.retry) == 0 {
		return nil
	}
	q := d.retry[len(d.retry)-1]
	d.retry = d.retry[:len(d.retry)-1]
	return q
}

// send sends the request once and notes the answer. It is not bound to the
// load's context: a request that is cut off by us would prove nothing.
func (d *drill) send(s *server, c *client, q *request) (acknowledged bool) {
	header := map[string]string{"Content-Type": q.mediaType()}
	if q.prefer != "" {
		header["Prefer"] = q.prefer
	}
	attempts, floor := d.book.sending(q)
	began := time.Now()
	a, err := c.do(context.Background(), "POST", "/v1/events", q.sender.key, header, q.body)
	if err != nil || d.dark.Load() {
		d.unanswered(q)
		d.book.mu.Lock()
		d.book.count.unanswered++
		d.book.mu.Unlock()
		return false
	}
	if took := time.Since(began); took > 6*time.Second && q.prefer == "" {
		d.book.problem("an answer took %v, status %d: %v", took, a.status, q)
	}
	if a.status == http.StatusServiceUnavailable {
		if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 {
			d.book.problem("503 with Retry-After %q: %v", a.header.Get("Retry-After"), q)
		}
		d.unanswered(q)
		d.book.mu.Lock()
		d.book.count.unavailable++
		d.book.mu.Unlock()
		return false
	}
	if err := d.note(q, attempts, floor, a); err != nil {
		d.book.problem("%v: %d %s: %v", q, a.status, a.body, err)
		return false
	}
	return true
}

// unanswered keeps the request for the next round.
func (d *drill) unanswered(q *request) {
	d.mu.Lock()
	d.later = append(d.later, q)
	d.mu.Unlock()
}

// note notes an answer with receipts, and checks that it is what it must be.
func (d *drill) note(q *request, attempts []*attempt, floor event.Position, a *answer) error {
	var body struct {
		Status   event.Disposition
		ID       string
		Receipt  string
		Accepted int
		Rejected int
		Receipts struct{ First, Last string }
		Errors   []struct {
			Index      int
			Receipt    string
			Violations []event.Violation
		}
		Results []struct {
			Index   int
			ID      string
			Status  event.Disposition
			Receipt string
		}
		Violations []event.Violation
	}
	// The header of a problem has a member status too, a number.
	type problem struct {
		Status int
	}
	if err := json.Unmarshal(a.body, &body); err != nil && json.Unmarshal(a.body, new(problem)) != nil {
		return err
	}
	waited := a.status == http.StatusOK
	if q.refusedOnly() {
		if a.status != http.StatusUnprocessableEntity && a.status != http.StatusBadRequest {
			return fmt.Errorf("status %d for a request without a good event", a.status)
		}
	} else if a.status != http.StatusAccepted && !(waited && q.prefer == "wait=5") {
		return fmt.Errorf("unexpected status")
	}
	first := body.Receipt
	if q.batch {
		first = body.Receipts.First
	}
	position, err := d.book.receipts.Position(first)
	if err != nil {
		return fmt.Errorf("receipt %q: %w", first, err)
	}
	d.book.acknowledged(attempts, position, floor)
	if !q.batch {
		if waited {
			d.say(attempts[0], body.Status)
		}
		return nil
	}
	if last := d.book.receipts.Of(position + event.Position(len(attempts)-1)); last != body.Receipts.Last {
		return fmt.Errorf("last receipt %s; want %s", body.Receipts.Last, last)
	}
	refused := 0
	for i, a := range attempts {
		if a.content == nil {
			if refused == len(body.Errors) {
				return fmt.Errorf("no error for record %d", i)
			}
			e := body.Errors[refused]
			if e.Index != i || e.Receipt != d.book.receipts.Of(a.position) || len(e.Violations) == 0 {
				return fmt.Errorf("error %d is not that of record %d", refused, i)
			}
			refused++
		}
	}
	if body.Accepted != len(attempts)-refused || body.Rejected != refused {
		return fmt.Errorf("accepted %d, rejected %d; want %d, %d", body.Accepted, body.Rejected, len(attempts)-refused, refused)
	}
	if !waited {
		return nil
	}
	if len(body.Results) != len(attempts) {
		return fmt.Errorf("%d results; want %d", len(body.Results), len(attempts))
	}
	for i, result := range body.Results {
		if result.Receipt != d.book.receipts.Of(attempts[i].position) {
			return fmt.Errorf("result %d has another receipt", i)
		}
		d.say(attempts[i], result.Status)
	}
	return nil
}

// say notes the final disposition that a sender was told.
func (d *drill) say(a *attempt, said event.Disposition) {
	d.book.mu.Lock()
	defer d.book.mu.Unlock()
	a.said = said
	d.book.count.waited++
}
