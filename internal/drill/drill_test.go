package drill_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/the-eye/eye/internal/event"
)

// drill is one installation and everything it has been sent.
type drill struct {
	t       *testing.T
	seed    uint64
	rand    *rand.Rand
	home    *home
	book    *book
	senders []*sender
	start   event.Micros

	pace         time.Duration // at most, between two requests of a worker
	loads        int           // so far
	starts       []time.Duration
	deaths       map[string]int
	sessionNames []string

	// dark is true from the moment of a power cut until the next start. No
	// answer comes out of a machine without power.
	dark atomic.Bool

	mu    sync.Mutex
	retry []*request // guarded by mu: unanswered in loads before
	later []*request // guarded by mu: unanswered in this load
}

// newDrill sets an installation up: applications, and the key behind receipts,
// with which positions can be read.
func newDrill(t *testing.T, h *home) *drill {
	t.Helper()
	s := seed(t)
	d := &drill{
		t: t, seed: s, rand: rand.New(rand.NewPCG(s, 0)), home: h,
		start: event.Now(time.Now()), deaths: make(map[string]int), pace: 20 * time.Millisecond,
	}
	server := h.start(t, "")
	c := newClient(t, h, server)
	for _, id := range []string{"web-shop", "mobile-app", "checkout"} {
		key, err := c.create(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		d.senders = append(d.senders, &sender{id, key})
	}
	server.stop()
	if h.external != nil { // its files are read without it
		h.external.kill()
	}
	d.book = newBook(h.receipts(t))
	if h.external != nil {
		h.external = h.external.again()
	}
	return d
}

// begin starts the program, as the next round does.
func (d *drill) begin() (*server, *client) {
	d.t.Helper()
	d.dark.Store(false)
	s := d.home.start(d.t, "")
	d.starts = append(d.starts, s.took)
	return s, newClient(d.t, d.home, s)
}

// loadFor puts load on the server until ctx is done or it dies.
func (d *drill) loadFor(ctx context.Context, s *server, c *client) {
	d.mu.Lock()
	d.retry = append(d.retry, d.later...)
	d.later = nil
	d.mu.Unlock()
	d.load(ctx, s, c)
}

// loadUntil puts load on the server and after some time lets it die. It returns
// when it is dead and every sender knows.
func (d *drill) loadUntil(s *server, c *client, length time.Duration, death func()) {
	d.t.Helper()
	var load sync.WaitGroup
	ctx, cancel := context.WithCancel(d.t.Context())
	defer load.Wait()
	defer cancel() // also when death fails the test
	load.Go(func() { d.loadFor(ctx, s, c) })
	select {
	case <-time.After(length):
	case <-s.gone:
		d.t.Fatalf("it ended by itself: %v; log:\n%s", s.state, s.lastLines())
	}
	death()
}

// sessions are those that a load sends to: some new, some of loads before.
func (d *drill) sessions() []string {
	if len(d.sessionNames) < d.loads*10 {
		for i := range 10 {
			d.sessionNames = append(d.sessionNames, fmt.Sprintf("s-%d-%d", d.loads, i))
		}
	}
	n := len(d.sessionNames)
	return slices.Clone(d.sessionNames[max(0, n-15):])
}

// settle waits until everything that was sent is processed, and checks it.
func (d *drill) settle(s *server, c *client) {
	d.t.Helper()
	d.repeat(s, c)
	d.await(s, c)
	d.checkRecent(s, c)
}

// repeat sends what has no answer until it has one.
func (d *drill) repeat(s *server, c *client) {
	d.t.Helper()
	d.mu.Lock()
	again := append(d.retry, d.later...)
	d.retry, d.later = nil, nil
	d.mu.Unlock()
	for _, q := range again {
		if !d.send(s, c, q) {
			d.report(s)
			d.t.Fatalf("repeated without an answer: %v; log:\n%s", q, s.lastLines())
		}
	}
}

// await sends a last event and waits for its disposition: then everything
// before it has one too.
func (d *drill) await(s *server, c *client) {
	d.t.Helper()
	composer := &composer{book: d.book, rand: d.rand, name: fmt.Sprintf("await-%d-%d", d.loads, d.rand.Uint64()), senders: d.senders, start: d.start, sessions: []string{"await"}}
	sender := d.senders[0]
	e, v := composer.event(sender)
	d.book.add(e)
	q := &request{sender: sender, body: []byte(v.wire), prefer: "wait=30", parts: []part{{e, v}}}
	attempts, floor := d.book.sending(q)
	a, err := c.do(d.t.Context(), "POST", "/v1/events", sender.key, map[string]string{"Content-Type": "application/json", "Prefer": q.prefer}, q.body)
	switch {
	case err != nil:
		d.t.Fatalf("wait for processing: %v; log:\n%s", err, s.lastLines())
	case a.status != http.StatusOK:
		d.t.Fatalf("wait for processing: %d %s; log:\n%s", a.status, a.body, s.lastLines())
	}
	q.prefer = "wait=5" // as note knows it
	if err := d.note(q, attempts, floor, a); err != nil {
		d.t.Fatalf("wait for processing: %v", err)
	}
}

// report fails the test with the promises that answers have broken.
func (d *drill) report(s *server) {
	d.t.Helper()
	d.book.mu.Lock()
	problems := d.book.problems
	d.book.problems = nil
	d.book.mu.Unlock()
	for _, p := range problems {
		d.t.Error(p)
	}
	if d.t.Failed() && s != nil {
		d.t.Logf("log of the server:\n%s", s.lastLines())
	}
}

// summary logs what was done.
func (d *drill) summary() {
	slices.Sort(d.starts)
	c := d.book.count
	kinds := make([]string, 0, len(d.deaths))
	for kind, n := range d.deaths {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, n))
	}
	slices.Sort(kinds)
	d.t.Logf("acknowledged %d events and %d refusals in %d requests; %d requests without answer, %d answered 503; %d dispositions waited for",
		c.acknowledged, c.refused, c.requests, c.unanswered, c.unavailable, c.waited)
	d.t.Logf("deaths: %s", strings.Join(kinds, ", "))
	if n := len(d.starts); n > 0 {
		d.t.Logf("%d starts, until serving: median %v, slowest %v", n, d.starts[n/2].Round(time.Millisecond), d.starts[n-1].Round(time.Millisecond))
	}
}
