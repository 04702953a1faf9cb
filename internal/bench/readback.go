package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/the-eye/eye/internal/event"
)

// Verdict is what reading back has shown.
type Verdict struct {
	Acknowledged int64   `json:"acknowledged"` // events that should be there, of those checked
	Unsure       int64   `json:"unsure"`       // events whose answer never came; may be there or not
	Read         int64   `json:"read"`         // events found
	Share        float64 `json:"share"`        // of the time line that was checked
	Seconds      float64 `json:"seconds"`

	Lost       int64    `json:"lost"`       // acknowledged, not readable
	Doubled    int64    `json:"doubled"`    // readable more than once
	Unexpected int64    `json:"unexpected"` // readable, never acknowledged, or nothing that was sent
	Altered    int64    `json:"altered"`    // in another session than the one it was sent with
	Examples   []string `json:"examples,omitempty"`
}

// OK tells whether everything was as it should be.
func (v *Verdict) OK() bool { return v.Lost+v.Doubled+v.Unexpected+v.Altered == 0 }

// span is a piece of the time line, from inclusive, to exclusive; open ends
// catch what is where it should not be.
type span struct {
	from, to         event.Micros
	openFrom, openTo bool
}

func (s span) has(at event.Micros) bool {
	return (s.openFrom || at >= s.from) && (s.openTo || at < s.to)
}

// reader reads the events of an application back and compares.
type reader struct {
	app    string
	remote *remote // as the application
	ids    ids
	books  []book

	mu      sync.Mutex
	verdict Verdict // guarded by mu; the books too
}

// readers is how many pages are asked for at the same time.
const readers = 2

// maxExamples bounds what is told about single events.
const maxExamples = 10

// check reads everything back, or about most events out of the whole time when
// there are more.
func (r *reader) check(ctx context.Context, most int64) (Verdict, error) {
	began := time.Now()
	spans, share := r.plan(most)
	work := make(chan span, len(spans))
	for _, s := range spans {
		work <- s
	}
	close(work)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for s := range work {
				if err := r.read(ctx, s); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return r.verdict, fmt.Errorf("read back: %w", err)
	}
	r.missing(spans)
	r.verdict.Share = share
	r.verdict.Seconds = time.Since(began).Seconds()
	return r.verdict, nil
}

// plan cuts the time line into spans and takes as many of them as hold about
// most events.
func (r *reader) plan(most int64) ([]span, float64) {
	var total int64
	low, high := event.Micros(1<<62), event.Micros(0)
	for i := range r.books {
		r.books[i].each(func(_ uint64, at event.Micros) {
			total++
			low, high = min(low, at), max(high, at)
		})
	}
	if total == 0 {
		return []span{{openFrom: true, openTo: true}}, 1
	}
	pieces := 2 * readers
	take := pieces
	if total > most && most > 0 {
		pieces = 1000
		take = max(1, int(float64(pieces)*float64(most)/float64(total)))
	}
	// At random: every n-th would beat with a load of constant rate.
	chosen := rand.Perm(pieces)[:take]
	slices.Sort(chosen)
	width := (high-low)/event.Micros(pieces) + 1
	spans := make([]span, take)
	for i, piece := range chosen {
		from := low + event.Micros(piece)*width
		spans[i] = span{from: from, to: from + width}
	}
	if take == pieces {
		spans[0].openFrom, spans[take-1].openTo = true, true
	}
	return spans, float64(take) / float64(pieces)
}

// found is what is looked at of an event read back.
type found struct {
	ID        string `json:"id"`
	SessionID string `json:"session_id"`
}

// read reads one span, page after page.
func (r *reader) read(ctx context.Context, s span) error {
	q := url.Values{"application": {r.app}, "limit": {"1000"}, "order": {"asc"}}
	if !s.openFrom {
		q.Set("from", s.from.String())
	}
	if !s.openTo {
		q.Set("to", s.to.String())
	}
	for pages := 0; ; pages++ {
		var page struct {
			Items []found `json:"items"`
			Next  *string `json:"next"`
		}
		if err := r.remote.patient(ctx, "/v1/events?"+q.Encode(), &page); err != nil {
			return err
		}
		r.enter(page.Items)
		if page.Next == nil {
			return nil
		}
		if *page.Next == q.Get("cursor") || len(page.Items) == 0 {
			return fmt.Errorf("page %d of %v to %v leads nowhere", pages, s.from, s.to)
		}
		q.Set("cursor", *page.Next)
	}
}

// enter compares a page with the books.
func (r *reader) enter(items []found) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := &r.verdict
	var session [idLen]byte
	for _, f := range items {
		v.Read++
		nm, ok := r.ids.parse(f.ID)
		if !ok || int(nm.conn) >= len(r.books) || nm.n >= r.books[nm.conn].issued {
			v.Unexpected++
			r.example("unexpected: %q was never sent", f.ID)
			continue
		}
		b := &r.books[nm.conn]
		switch {
		case b.seen.has(nm.n):
			v.Doubled++
			r.example("doubled: %s", f.ID)
			continue
		case !b.acked.has(nm.n) && !b.unsure.has(nm.n):
			v.Unexpected++
			r.example("unexpected: %s was refused", f.ID)
		}
		b.seen.add(nm.n)
		if r.ids.putSession(session[:], nm); string(session[:]) != f.SessionID {
			v.Altered++
			r.example("altered: %s was sent in session %s and is in %q", f.ID, session[:], f.SessionID)
		}
	}
}

// missing counts what should have been found.
func (r *reader) missing(spans []span) {
	v := &r.verdict
	var id [idLen]byte
	for i := range r.books {
		b := &r.books[i]
		b.each(func(n uint64, at event.Micros) {
			acked, unsure := b.acked.has(n), b.unsure.has(n)
			if !acked && !unsure || !within(spans, at) {
				return
			}
			if !acked {
				v.Unsure++
				return
			}
			v.Acknowledged++
			if !b.seen.has(n) {
				v.Lost++
				r.ids.put(id[:], name{uint16(i), n}, at)
				r.example("lost: %s of %v", id[:], at)
			}
		})
	}
}

// within tells whether one of the spans, which are in order, has the instant.
func within(spans []span, at event.Micros) bool {
	for len(spans) > 0 {
		mid := len(spans) / 2
		switch s := spans[mid]; {
		case s.has(at):
			return true
		case at < s.from:
			spans = spans[:mid]
		default:
			spans = spans[mid+1:]
		}
	}
	return false
}

func (r *reader) example(format string, a ...any) {
	if len(r.verdict.Examples) < maxExamples {
		r.verdict.Examples = append(r.verdict.Examples, fmt.Sprintf(format, a...))
	}
}
