package ingest

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/the-eye/eye/internal/access"
	"github.com/the-eye/eye/internal/problem"
)

// rates holds a token bucket, counted in events, for each limited application.
type rates struct {
	mu      sync.RWMutex
	buckets map[string]*bucket // by application; guarded by mu
}

type bucket struct {
	*rate.Limiter
	rate access.Rate // what the limiter was set to
}

// of is the bucket of the sender's application, nil when it is not limited.
func (r *rates) of(p *access.Principal) *bucket {
	if !p.Rate.Limited() {
		return nil
	}
	r.mu.RLock()
	b := r.buckets[p.Application]
	r.mu.RUnlock()
	if b != nil && b.rate == p.Rate {
		return b
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if b = r.buckets[p.Application]; b == nil || b.rate != p.Rate {
		// A changed rate starts with a full bucket.
		b = &bucket{rate.NewLimiter(rate.Limit(p.Rate.PerSecond), int(p.Rate.Burst)), p.Rate}
		if r.buckets == nil {
			r.buckets = make(map[string]*bucket)
		}
		r.buckets[p.Application] = b
	}
	return b
}

// take takes n events out of the bucket, or says when to come again. What was
// taken for nothing is given back with the function that take returns.
func (b *bucket) take(now time.Time, n int) (giveBack func(), no *problem.Problem) {
	if n > b.Burst() {
		return nil, tooLarge(fmt.Sprintf("This application may send at most %d events at once. Send fewer in one request.", b.Burst()))
	}
	taken := b.ReserveN(now, n)
	if wait := taken.DelayFrom(now); wait > 0 {
		taken.CancelAt(now)
		return nil, b.exceeded(wait)
	}
	return func() { taken.CancelAt(now) }, nil
}

// wait is how long it takes for so many events to flow in.
func (b *bucket) wait(events float64) time.Duration {
	return time.Duration(events / float64(b.rate.PerSecond) * float64(time.Second))
}

// exceeded is the problem of an application that sends too fast.
func (b *bucket) exceeded(wait time.Duration) *problem.Problem {
	return &problem.Problem{
		Status: http.StatusTooManyRequests, Type: "rate-limited", Title: "Too many events",
		Detail:     fmt.Sprintf("This application may send %d events a second. Nothing was accepted; send the same events again after the time in Retry-After.", b.rate.PerSecond),
		RetryAfter: wait,
	}
}

// tell writes the headers that tell a limited client where it stands
// (draft-ietf-httpapi-ratelimit-headers).
func (b *bucket) tell(h http.Header, now time.Time) {
	left := max(0, b.TokensAt(now))
	burst, perSecond := float64(b.rate.Burst), float64(b.rate.PerSecond)
	text := make([]byte, 0, 64)
	text = strconv.AppendInt(append(text, `"default";q=`...), b.rate.Burst, 10)
	text = strconv.AppendInt(append(text, ";w="...), int64(math.Ceil(burst/perSecond)), 10)
	h.Set("RateLimit-Policy", string(text))
	text = strconv.AppendInt(append(text[:0], `"default";r=`...), int64(left), 10)
	text = strconv.AppendInt(append(text, ";t="...), int64(math.Ceil((burst-left)/perSecond)), 10)
	h.Set("RateLimit", string(text))
}
