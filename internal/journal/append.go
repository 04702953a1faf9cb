package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/the-eye/eye/internal/event"
)

// Append puts a batch of count encoded records into the journal and returns the
// position of the first once they are synced to disk (on a cluster: on a
// quorum). The records get the positions first, first+1, and so on; they lie in
// one block and nothing lies between them.
//
// When ctx ends first, a batch that still waits is taken out; one that is on its
// way may get in. Without a deadline Append answers after twice the commit
// timeout of 4 s at the latest: the block before, and its own. Append does not
// keep records, whatever it returns. It is safe for concurrent use.
func (j *Journal) Append(ctx context.Context, records []byte, count int) (first event.Position, err error) {
	if count < 1 || len(records) == 0 {
		return 0, errors.New("append to journal: no records")
	}
	if len(records) > j.maxAppendBytes || count > event.MaxBlockRecords {
		return 0, j.refused(refuseTooLarge)
	}
	if err := ctx.Err(); err != nil {
		return 0, j.canceled(err)
	}
	w := waiters.Get().(*waiter)
	w.records, w.count = records, count

	j.mu.Lock()
	if refusal := j.admit(len(records)); refusal != nil {
		j.mu.Unlock()
		w.recycle()
		return 0, j.refused(refusal)
	}
	// The committer looks at the queue until it finds it empty, so only the
	// first to enter has to wake it.
	wake := j.queue.head == nil
	j.queue.push(w)
	j.mu.Unlock()
	if wake {
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}

	select {
	case <-w.done:
	case <-ctx.Done():
		if j.withdraw(w) {
			w.recycle()
			return 0, j.canceled(ctx.Err())
		}
		select {
		case <-w.done: // the answer came at the same time
		default:
			// The committer has copied the records and will answer into the
			// waiter's channel, where nobody looks: it is left to the
			// garbage collector.
			return 0, j.canceled(ctx.Err())
		}
	}
	first, err = w.first, w.err
	w.recycle()
	return first, err
}

// admit says why a batch of that size cannot wait, or nil. j.mu is held.
func (j *Journal) admit(size int) *refusal {
	if j.draining {
		return refuseDraining
	}
	// One batch always fits, so that no setting can lock everybody out.
	if j.queue.head != nil && j.queue.bytes+int64(size)+waiterBytes > j.opts.MaxQueueBytes {
		return refuseQueue
	}
	return nil
}

// withdraw takes w out of the queue, if it is still there.
func (j *Journal) withdraw(w *waiter) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !w.queued {
		return false
	}
	j.queue.remove(w)
	return true
}

func (j *Journal) refused(r *refusal) error {
	j.metrics.refused[r.reason].Inc()
	return r
}

func (j *Journal) canceled(err error) error {
	j.metrics.refused[reasonCanceled].Inc()
	return fmt.Errorf("append to journal: %w", err)
}

// Drain makes every Append from now on answer ErrDraining. What waits is still
// committed.
func (j *Journal) Drain() {
	j.mu.Lock()
	j.draining = true
	j.mu.Unlock()
}
