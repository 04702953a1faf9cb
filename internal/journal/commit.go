package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/the-eye/eye/internal/crash"
	"github.com/the-eye/eye/internal/event"
)

const (
	// probeEvery is how often the committer tries the way while the server
	// does not answer and nobody waits.
	probeEvery = time.Second
	// idleAfter is how long the memory for large blocks is kept without work.
	idleAfter = 5 * time.Second
	// retryPause lies between attempts that were refused at once, as happens
	// while a cluster elects a leader.
	retryPause = 50 * time.Millisecond
)

// Run commits what Append brings until ctx is done; then it drains: new batches
// are refused, and it returns when all that waited is committed or refused. It
// returns an error, with everything refused, when going on could lose records.
// Run is called once.
func (j *Journal) Run(ctx context.Context) error {
	if !j.started.CompareAndSwap(false, true) {
		return errors.New("run journal: called twice")
	}
	for {
		if ctx.Err() != nil {
			j.Drain()
		}
		j.take()
		if len(j.group) > 0 {
			if err := errors.Join(j.commit(), j.stuck()); err != nil {
				return j.giveUp(err)
			}
			// Not lingering, but letting those go first who can run already:
			// the callers just answered are about to append again. Blocks get
			// half as large again by it (measured at 64 and 512 callers).
			runtime.Gosched()
			continue
		}
		if ctx.Err() != nil {
			return nil // draining since before the queue was found empty
		}
		j.await(ctx)
		if err := j.stuck(); err != nil {
			return j.giveUp(err)
		}
	}
}

// giveUp refuses everything and ends Run.
func (j *Journal) giveUp(err error) error {
	j.Drain()
	j.refuseQueued(refuseUnavailable(err))
	return fmt.Errorf("run journal: %w", err)
}

// stuck is ErrStuck when only opening everything again can help. An external
// server is for its own operator to restart, and full is not stuck.
func (j *Journal) stuck() error {
	err := j.health.stuck()
	if err == nil || !j.inside || j.disk.check(readyBytes) != nil {
		return nil
	}
	return err
}

// await returns when the queue may hold something or ctx is done. Meanwhile it
// gives memory back, and tests the way while the server is not answering.
func (j *Journal) await(ctx context.Context) {
	idle := idleAfter
	if j.health.failing() {
		idle = probeEvery
	}
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		select {
		case <-j.wake:
			return
		case <-ctx.Done():
			return
		case <-timer.C:
			if j.health.failing() {
				j.probe()
				return
			}
			j.enc.release()
		}
	}
}

// take moves waiters from the queue into j.group and copies their records into
// the block. Both happen under the lock, so that an Append which gives up later
// can return at once, its memory untouched from then on.
func (j *Journal) take() {
	j.enc.reset()
	clear(j.group)
	j.group = j.group[:0]
	j.mu.Lock()
	defer j.mu.Unlock()
	for w := j.queue.head; w != nil; w = j.queue.head {
		full := len(j.enc.raw)+len(w.records)+batchOverhead > j.targetRawBytes || j.enc.records+w.count > event.MaxBlockRecords
		if full && len(j.group) > 0 {
			break // a large batch gets a block of its own
		}
		j.queue.remove(w)
		j.enc.add(w.records, w.count)
		w.records = nil
		j.group = append(j.group, w)
	}
}

// commit stores j.group as one block and answers its waiters. The error is one
// that ends Run; the waiters have been answered even then.
func (j *Journal) commit() error {
	begin := time.Now()
	if err := j.disk.check(int64(len(j.enc.raw))); err != nil {
		r := refuseDisk(err)
		j.health.refuse(r)
		j.answer(0, r)
		return nil
	}
	block := j.enc.finish()
	sequence, r := j.publish(block)
	if r != nil {
		j.fail(r)
		if errors.Is(r, errBackwards) {
			return r
		}
		return nil
	}
	crash.Point("journal.after_sync")
	j.succeed(sequence)
	j.disk.wrote(int64(len(block)))
	j.metrics.committed(&j.enc, len(block), sequence, time.Since(begin))
	j.answer(sequence, nil)
	return nil
}

// fail answers the group of a block that was not stored, or may not have been.
func (j *Journal) fail(r *refusal) {
	if r.kind != ErrUnavailable {
		j.health.refuse(r)
		j.answer(0, r)
		return
	}
	if j.health.fail(r.cause) {
		j.log.Error("the journal server does not acknowledge; new events are refused", "err", r.cause)
	}
	j.answer(0, r)
	// Those that queued up meanwhile have waited as long as a client can be
	// asked to, and are certainly not stored. The next to come are the test
	// whether it works again.
	j.refuseQueued(r)
}

// answer wakes the group: with positions in the block at sequence, or with r.
func (j *Journal) answer(sequence uint64, r *refusal) {
	if r != nil {
		j.metrics.refused[r.reason].Add(float64(len(j.group)))
		for _, w := range j.group {
			w.answer(0, r)
		}
		return
	}
	index := 0
	for _, w := range j.group {
		n := w.count // w belongs to its Append again after the answer
		w.answer(event.At(sequence, index), nil)
		index += n
	}
}

// refuseQueued answers everybody in the queue with r.
func (j *Journal) refuseQueued(r *refusal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for w := j.queue.head; w != nil; w = j.queue.head {
		j.queue.remove(w)
		w.answer(0, r)
		n++
	}
	j.metrics.refused[r.reason].Add(float64(n))
}

// probe stores a block without records, to learn whether the way is free again.
func (j *Journal) probe() {
	j.enc.reset()
	if j.disk.check(0) != nil {
		return
	}
	sequence, r := j.publish(j.enc.finish())
	if r != nil {
		if r.kind == ErrUnavailable {
			j.health.fail(r.cause)
		}
		return
	}
	j.succeed(sequence)
}

// succeed notes that a block was stored.
func (j *Journal) succeed(sequence uint64) {
	j.noteLast(sequence)
	if j.health.succeed() {
		j.log.Info("the journal server acknowledges again", "block", sequence)
	}
}

// publish hands the block to the server until it is acknowledged, with one id
// for all attempts, so that the server stores it once. It gives up at once when
// the server says that it is full, and after the commit timeout otherwise.
func (j *Journal) publish(block []byte) (uint64, *refusal) {
	j.count++
	id := j.runID + strconv.FormatUint(j.count, 36)
	j.msg.Data = block
	deadline := time.Now().Add(j.opts.commitTimeout)
	var last error
	for attempt := 0; ; attempt++ {
		if attempt > 0 && !time.Now().Add(retryPause).Before(deadline) {
			return 0, refuseUnavailable(fmt.Errorf("after %d attempts: %w", attempt, last))
		}
		ack, err := j.attempt(id, deadline)
		if err == nil {
			// j.last is no measure here: a reader may have seen this very
			// block before its acknowledgement came.
			if ack.Sequence <= j.acked {
				return 0, refuseUnavailable(fmt.Errorf("%w: block %d after block %d", errBackwards, ack.Sequence, j.acked))
			}
			j.acked = ack.Sequence
			return ack.Sequence, nil
		}
		switch j.judge(err) {
		case full:
			return 0, refuseBytes(err)
		case hopeless:
			return 0, refuseUnavailable(err)
		case soon:
			time.Sleep(retryPause)
		}
		j.metrics.retries.Inc()
		last = err
	}
}

// attempt publishes once and waits for the answer. The client library gives the
// answer up after the ack timeout.
func (j *Journal) attempt(id string, deadline time.Time) (*jetstream.PubAck, error) {
	// The library copies the block before it returns.
	future, err := j.pub.PublishMsgAsync(&j.msg,
		jetstream.WithMsgID(id), jetstream.WithExpectStream(j.name), jetstream.WithRetryAttempts(0))
	if err != nil {
		return nil, err
	}
	crash.Point("journal.before_sync")
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case ack := <-future.Ok():
		return ack, nil
	case err := <-future.Err():
		return nil, err
	case <-timer.C:
		return nil, jetstream.ErrAsyncPublishTimeout
	}
}

// A verdict is what an error of the server means for the block.
type verdict int

const (
	again    verdict = iota // try again: time has passed already
	soon                    // try again after a pause
	full                    // not stored; there is no room
	hopeless                // trying again now is useless
)

// Error codes of JetStream, where the library has no names for them.
const (
	codeAccountResources = 10002
	codeTemporarilyDown  = 10008
	codeResources        = 10023
	codeMemoryResources  = 10028
	codeStorageResources = 10047
	codeStoreFailed      = 10077
	codeDuplicateInWork  = 10158
	codeTooManyRequests  = 10167
)

func (j *Journal) judge(err error) verdict {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case codeAccountResources, codeResources, codeMemoryResources, codeStorageResources:
			return full
		case codeStoreFailed:
			// One code for several reasons; only the text tells them apart.
			if strings.Contains(api.Description, "maximum bytes") || strings.Contains(api.Description, "maximum messages") {
				return full
			}
			return hopeless
		case codeTemporarilyDown, codeDuplicateInWork, codeTooManyRequests:
			return soon
		}
		return hopeless
	}
	switch {
	case errors.Is(err, jetstream.ErrAsyncPublishTimeout):
		return again
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrMaxPayload):
		return hopeless
	}
	return soon // no leader, no connection
}
