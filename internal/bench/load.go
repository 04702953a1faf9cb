package bench

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// load is one run of the generator against one target.
type load struct {
	opts   Options
	target target
	ids    ids
	books  []book // of each connection

	ctx    context.Context
	tally  tally
	left   atomic.Int64 // requests that may still be sent
	unsent atomic.Int64 // requests that were due and not sent when time was over

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu; nil: the run was cancelled
}

// tally counts answers, from all connections.
type tally struct {
	from, to atomic.Int64 // what is measured: Unix nanoseconds

	ack      Histogram    // due → answered, of requests due and answered in the measured time
	requests atomic.Int64 // answered 2xx, or 422 as planned, in the measured time
	events   atomic.Int64 // accepted in the measured time

	answers      atomic.Int64 // requests answered, in all the time
	accepted     atomic.Int64 // events, in all the time; so the rest
	refusedBad   atomic.Int64
	status       [600]atomic.Int64
	noConnection atomic.Int64
	broken       atomic.Int64 // requests without an answer
	refusedGood  atomic.Int64
	acceptedBad  atomic.Int64
	last         atomic.Int64 // Unix nanoseconds of the last answer
}

// answered counts one answer.
func (t *tally) answered(status int, due, done time.Time, s settled) {
	at := done.UnixNano()
	t.status[status].Add(1)
	t.answers.Add(1)
	t.accepted.Add(s.accepted)
	if s.refusedBad > 0 {
		t.refusedBad.Add(s.refusedBad)
	}
	if s.refusedGood > 0 {
		t.refusedGood.Add(s.refusedGood)
	}
	if s.acceptedBad > 0 {
		t.acceptedBad.Add(s.acceptedBad)
	}
	t.last.Store(at)
	if at < t.from.Load() || at >= t.to.Load() {
		return
	}
	if s.accepted > 0 || status == 422 && s.refusedGood == 0 {
		t.requests.Add(1)
		t.events.Add(s.accepted)
	}
	if due.UnixNano() >= t.from.Load() {
		t.ack.Record(done.Sub(due))
	}
}

// elapsed is how long was measured.
func (t *tally) elapsed() time.Duration {
	return time.Duration(min(t.to.Load(), t.last.Load()) - t.from.Load())
}

// newLoad prepares a run; bookkeeping needs one connection number more than the
// load has, for the prober.
func newLoad(o Options, t target, key uint64) *load {
	return &load{opts: o, target: t, ids: ids{key}, books: make([]book, o.Connections+1)}
}

// run loads the target until time or requests are used up and the last answer
// is there. It fails only when nothing could be sent at all.
func (l *load) run(ctx context.Context) error {
	l.ctx = ctx
	l.conns = make(map[net.Conn]struct{}, l.opts.Connections)
	defer context.AfterFunc(ctx, l.cut)()

	clients := make([]*client, l.opts.Connections)
	for i := range clients {
		clients[i] = newClient(l, i)
		if err := clients[i].connect(); err != nil {
			l.cut()
			return err
		}
		defer clients[i].hangUp()
	}

	l.left.Store(1 << 62)
	warmup := l.opts.Warmup
	if l.opts.Requests > 0 {
		l.left.Store(l.opts.Requests)
		warmup = 0
	}
	start := time.Now()
	end := start.Add(warmup + l.opts.Duration)
	l.tally.from.Store(start.Add(warmup).UnixNano())
	l.tally.to.Store(end.UnixNano())

	var wg sync.WaitGroup
	if l.opts.Rate == 0 {
		for _, c := range clients {
			wg.Go(func() { l.closedLoop(c, end) })
		}
	} else {
		due := make(chan time.Time)
		wg.Go(func() { l.schedule(due, start, end) })
		for _, c := range clients {
			wg.Go(func() { l.openLoop(c, due, end) })
		}
	}
	wg.Wait()
	return ctx.Err()
}

// closedLoop sends the next request when the answer to the last is there.
func (l *load) closedLoop(c *client, end time.Time) {
	for l.ctx.Err() == nil && time.Now().Before(end) && l.left.Add(-1) >= 0 {
		if pause := c.send(time.Time{}); pause > 0 {
			wait(l.ctx, min(pause, time.Until(end)))
		}
	}
}

// openLoop sends a request whenever one is due and this connection is free.
func (l *load) openLoop(c *client, due <-chan time.Time, end time.Time) {
	for at := range due {
		if l.ctx.Err() != nil || !time.Now().Before(end) {
			l.unsent.Add(1)
			continue
		}
		c.send(at)
	}
}

// schedule says when requests are due: evenly, and never later because earlier
// ones are still waiting for a free connection.
func (l *load) schedule(due chan<- time.Time, start, end time.Time) {
	defer close(due)
	gap := float64(l.opts.Events) / l.opts.Rate * float64(time.Second)
	for i := 0; l.left.Add(-1) >= 0; i++ {
		at := start.Add(time.Duration(float64(i) * gap))
		if !at.Before(end) {
			return
		}
		if d := time.Until(at); d > 0 {
			sleep(l.ctx, d)
		}
		if l.ctx.Err() != nil {
			return
		}
		if late := time.Until(end); late <= 0 { // behind, and all the rest with it
			rest := int64(float64(end.Sub(at))/gap) + 1
			l.unsent.Add(min(rest, l.left.Load()+1))
			return
		}
		select { // all connections may be busy
		case due <- at:
		case <-l.ctx.Done():
			return
		}
	}
}

// watch lets a cancelled run end at once: its connections are cut.
func (l *load) watch(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		c.Close()
		return
	}
	l.conns[c] = struct{}{}
}

func (l *load) forget(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

func (l *load) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

// wait waits, unless ctx ends before.
func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
