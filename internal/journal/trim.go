package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Trim removes blocks that are no longer needed: those up to committed, the
// last block that the store has, which are older than Options.Retention; and
// younger ones, oldest first, while the journal holds more than half of its
// MaxBytes; and all of them when the disk has reached its floor, since taking
// new events is worth more than keeping processed ones. Blocks beyond committed
// are never removed, nor is the newest block, so that the sequence survives
// whatever happens to an empty stream.
//
// With hardly any space left nothing is removed: removing writes, too, and when
// that fails nats-server 2.15.2 waits for itself for ever, seen in the crash drill.
func (j *Journal) Trim(ctx context.Context, committed uint64) error {
	if err := j.trim(ctx, committed); err != nil {
		return fmt.Errorf("trim journal: %w", err)
	}
	return nil
}

func (j *Journal) trim(ctx context.Context, committed uint64) error {
	stream, err := j.js.Stream(ctx, j.name)
	if err != nil {
		return err
	}
	info := stream.CachedInfo()
	s := j.noteState(info)
	if s.Last == 0 {
		return nil
	}
	upTo := min(committed, s.Last-1) // the last block that may go
	if j.disk.crowded() {
		return nil
	}
	if cutoff := j.opts.now().Add(-j.opts.Retention); s.First <= upTo && info.State.FirstTime.Before(cutoff) {
		young, err := j.firstSince(ctx, cutoff, s)
		if err != nil {
			return err
		}
		if s, err = j.purge(ctx, stream, min(upTo, young-1), s); err != nil {
			return err
		}
	}
	if err := j.disk.check(readyBytes); err != nil && s.First <= upTo {
		j.log.Warn("the disk is full; processed blocks go before their time", "first", s.First, "last", upTo, "err", err)
		if s, err = j.purge(ctx, stream, upTo, s); err != nil {
			return err
		}
		j.disk.lookAgain()
	}
	// How large the oldest blocks are is not known, so go by the average and
	// look again: it ends because each round removes one block at least.
	for s.First <= upTo && s.Bytes > j.opts.MaxBytes/2 {
		average := max(s.Bytes/int64(s.Blocks), 1)
		n := max((s.Bytes-j.opts.MaxBytes/2)/average, 1)
		if s, err = j.purge(ctx, stream, min(upTo, s.First+uint64(n)-1), s); err != nil {
			return err
		}
	}
	return nil
}

// purge removes the blocks up to last.
func (j *Journal) purge(ctx context.Context, stream jetstream.Stream, last uint64, s State) (State, error) {
	if last < s.First {
		return s, nil
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(last+1)); err != nil {
		return s, fmt.Errorf("remove the blocks up to %d: %w", last, err)
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return s, err
	}
	after := j.noteState(info)
	if after.First <= s.First {
		return after, fmt.Errorf("remove the blocks up to %d: the first is still block %d", last, after.First)
	}
	j.metrics.trimmed.Add(float64(s.Blocks - min(after.Blocks, s.Blocks)))
	j.health.roomMade()
	j.log.Debug("trimmed the journal", "first", after.First, "last", after.Last, "bytes", after.Bytes)
	return after, nil
}

// firstSince is the sequence number of the first block stored at t or later, or
// the one after the last.
func (j *Journal) firstSince(ctx context.Context, t time.Time, s State) (uint64, error) {
	// The server finds a place by time quickly, for consumers only.
	c, err := j.js.CreateConsumer(ctx, j.name, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartTimePolicy,
		OptStartTime:      &t,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		HeadersOnly:       true,
		InactiveThreshold: 10 * time.Second,
	})
	if err != nil {
		return 0, fmt.Errorf("find the first block since %s: %w", t.Format(time.RFC3339), err)
	}
	defer j.js.DeleteConsumer(context.WithoutCancel(ctx), j.name, c.CachedInfo().Name)
	batch, err := c.FetchNoWait(1)
	if err != nil {
		return 0, fmt.Errorf("find the first block since %s: %w", t.Format(time.RFC3339), err)
	}
	first := s.Last + 1
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return 0, err
		}
		first = meta.Sequence.Stream
	}
	if err := batch.Error(); err != nil && !errors.Is(err, jetstream.ErrNoMessages) {
		return 0, fmt.Errorf("find the first block since %s: %w", t.Format(time.RFC3339), err)
	}
	return first, nil
}
