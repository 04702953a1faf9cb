package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/the-eye/eye/internal/event"
)

// prober sends single events beside the load and measures how long it takes
// from the acknowledgement until each can be read.
type prober struct {
	app    string
	remote *remote // as the application
	ids    ids

	mu     sync.Mutex
	source *source // guarded by mu
	book   *book   // guarded by mu

	readable Histogram
	missed   atomic.Int64 // acknowledged, not readable within probePatience
	failed   atomic.Int64 // not acknowledged
}

// probePatience is how long a probe is looked for.
const probePatience = 30 * time.Second

func newProber(l *load, app string, r *remote) *prober {
	last := len(l.books) - 1
	return &prober{app: app, remote: r, ids: l.ids, source: newSource(l.ids, last), book: &l.books[last]}
}

// run sends perSecond probes until ctx ends, then waits for those under way.
func (p *prober) run(ctx context.Context, perSecond float64) {
	if perSecond <= 0 {
		return
	}
	// A probe that is sent is followed to its end: giving up on the slow ones
	// would make the server look better than it is.
	follow := context.WithoutCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	gap := time.Duration(float64(time.Second) / perSecond)
	start := time.Now()
	for i := 1; ; i++ {
		sleep(ctx, time.Until(start.Add(time.Duration(i)*gap)))
		if ctx.Err() != nil {
			return
		}
		wg.Go(func() {
			took, err := p.one(follow, probePatience, probePatience)
			switch {
			case err == nil:
				p.readable.Record(took)
			case errors.Is(err, errNotReadable):
				p.missed.Add(1)
				p.readable.Record(probePatience)
			default:
				p.failed.Add(1)
			}
		})
	}
}

var errNotReadable = errors.New("acknowledged and not readable in time")

// one sends an event and waits until it is readable; the answer is the time
// between acknowledgement and the end of the read that found it. It looks at least every coarsest.
func (p *prober) one(ctx context.Context, patience, coarsest time.Duration) (time.Duration, error) {
	p.mu.Lock()
	at := event.Now(time.Now())
	n := p.book.open(at, 1)
	body := p.source.append(nil, n, at)
	p.mu.Unlock()
	var id [idLen]byte
	p.ids.put(id[:], name{p.source.conn, n}, at)

	status, err := p.remote.call(ctx, http.MethodPost, "/v1/events", body, nil)
	acked := time.Now()
	p.mu.Lock()
	switch {
	case err == nil:
		p.book.acked.add(n)
	case status == 0 || status == http.StatusAccepted:
		p.book.unsure.add(n)
	}
	p.mu.Unlock()
	if err != nil {
		return 0, fmt.Errorf("send probe: %w", err)
	}

	path := "/v1/events/" + url.PathEscape(p.app) + "/" + string(id[:])
	for {
		status, err := p.remote.call(ctx, http.MethodGet, path, nil, nil)
		took := time.Since(acked)
		switch {
		case err == nil:
			return took, nil
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case took > patience:
			return 0, errNotReadable
		case status/100 == 4 && status != http.StatusNotFound && status != http.StatusTooManyRequests:
			return 0, fmt.Errorf("read probe: %w", err)
		}
		// Looking more often measures finer and loads the server more: an
		// eighth of the time so far keeps the error below 13 %.
		wait(ctx, min(max(took/8, 3*time.Millisecond), coarsest))
	}
}

// drained waits until everything acknowledged before now is readable: the
// journal is processed in order, so one more event at its end tells.
func drained(ctx context.Context, p *prober, patience time.Duration) error {
	began := time.Now()
	for tries := 1; ; tries++ {
		_, err := p.one(ctx, patience, 100*time.Millisecond)
		if err == nil {
			return nil
		}
		// The server may still be refusing after a heavy load.
		if tries >= 20 || ctx.Err() != nil || time.Since(began) > patience {
			return fmt.Errorf("wait until all is readable: %w", err)
		}
		wait(ctx, 250*time.Millisecond)
	}
}
