package client

import (
	"context"
	"math/rand/v2"
	"time"
)

// The pauses between repetitions double from the first to the longest.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 30 * time.Second
)

// pauses says how long to wait before something that failed is tried again,
// and when to stop trying.
type pauses struct {
	first, longest time.Duration
	until          time.Time // zero: for ever
	n              int
}

// newPauses are the pauses of something that starts now and is given up after
// patience; 0 means that the first failure is final.
func newPauses(patience time.Duration) *pauses {
	return &pauses{first: firstPause, longest: longestPause, until: time.Now().Add(patience)}
}

// after is the pause after err, or false when there is no use in another try:
// err is final, or patience has run out.
//
// The pause is what the server asks for, and at least half of the exponential
// step; the other half is chance, so that many clients of a server that comes
// back do not arrive together.
func (p *pauses) after(err error) (time.Duration, bool) {
	asked, ok := temporary(err)
	if !ok {
		return 0, false
	}
	step := p.longest
	if p.n < 32 && p.first<<p.n < p.longest {
		step = p.first << p.n
	}
	p.n++
	pause := max(asked, step/2) + rand.N(step/2+1)
	if !p.until.IsZero() && time.Now().Add(pause).After(p.until) {
		return 0, false
	}
	return pause, true
}

// again waits after a failure and tells whether to repeat what failed.
func (p *pauses) again(ctx context.Context, err error) bool {
	wait, ok := p.after(err)
	return ok && sleep(ctx, wait)
}

// sleep waits for d, or returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
