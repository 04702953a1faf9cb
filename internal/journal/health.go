package journal

import (
	"fmt"
	"sync"
	"time"
)

// fullFor is how long a refusal for want of room makes the journal not ready,
// when nothing has been stored since. After it the next caller is the test.
const fullFor = 5 * time.Second

// readyBytes is the room that has to be there above the disk floor: a few
// blocks, so that ready is not said at the very edge.
const readyBytes = 1 << 20

// stuckAfter is how long an embedded server may not acknowledge before it is
// given up. A disk that merely stalls has answered by then.
const stuckAfter = 5 * time.Second

// health is the outcome of the last commits.
type health struct {
	mu       sync.Mutex
	failures int       // guarded by mu: blocks in a row without acknowledgement
	since    time.Time // guarded by mu: of the first of them
	cause    error     // guarded by mu: of the last
	full     *refusal  // guarded by mu: the last refusal, nil after a success
	fullAt   time.Time // guarded by mu
}

// succeed notes a stored block and tells whether the one before got no
// acknowledgement.
func (h *health) succeed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	failed := h.failures > 0
	h.failures, h.cause, h.full = 0, nil, nil
	return failed
}

// fail notes a block without acknowledgement and tells whether it is the first.
func (h *health) fail(cause error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures == 0 {
		h.since = time.Now()
	}
	h.failures++
	h.cause = cause
	return h.failures == 1
}

// refuse notes that there was no room. The server answered, though.
func (h *health) refuse(r *refusal) {
	h.mu.Lock()
	h.failures, h.cause = 0, nil
	h.full, h.fullAt = r, time.Now()
	h.mu.Unlock()
}

// roomMade forgets that there was no room.
func (h *health) roomMade() {
	h.mu.Lock()
	h.full = nil
	h.mu.Unlock()
}

func (h *health) failing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failures > 0
}

// stuck is why nothing has been acknowledged for stuckAfter, or nil.
func (h *health) stuck() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures < 2 || time.Since(h.since) < stuckAfter {
		return nil
	}
	return fmt.Errorf("%w since %s (%d attempts): %w", ErrStuck, h.since.UTC().Format(time.RFC3339), h.failures, h.cause)
}

func (h *health) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures > 0 {
		return fmt.Errorf("%w since %s (%d attempts; restart the journal server if this stays): %w",
			ErrUnavailable, h.since.UTC().Format(time.RFC3339), h.failures, h.cause)
	}
	if h.full != nil && h.full.reason != reasonDisk && time.Since(h.fullAt) < fullFor {
		return fmt.Errorf("%w: %s", ErrFull, h.full.reason)
	}
	return nil
}

// Ready is nil when the journal can take events, and says otherwise why not.
func (j *Journal) Ready() error {
	j.mu.Lock()
	draining := j.draining
	j.mu.Unlock()
	if draining {
		return ErrDraining
	}
	if !j.started.Load() {
		return fmt.Errorf("%w: it is not running yet", ErrUnavailable)
	}
	if err := j.disk.check(readyBytes); err != nil {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return j.health.err()
}
