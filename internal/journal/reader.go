package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// prefetchBlocks bounds what the client library holds ready for a reader:
	// a few megabytes usually, 24 MiB a block at worst. A bound in bytes
	// besides would end each request with a message of its own, for which the
	// library has no room, so that it drops blocks (seen with nats.go 1.55).
	prefetchBlocks = 8

	// readerIdle is how long the server keeps a reader's place while nobody
	// asks. Losing it costs a new consumer, no block.
	readerIdle = 5 * time.Minute

	maxReadPause = 2 * time.Second
	lookEvery    = 50 * time.Millisecond
	overdueAfter = 2 * time.Second
)

// Reader reads blocks in order, each once, and waits at the end for new ones.
// It is not safe for concurrent use.
type Reader struct {
	j     *Journal
	after uint64 // the last block answered for

	name     string // of the consumer, "" when there is none
	messages jetstream.MessagesContext
	held     jetstream.Msg // next one, when a gap had to be told first
	fresh    bool          // nothing has come from this consumer yet
	pause    time.Duration // before the next attempt to make a consumer
	looked   time.Time     // when the stream's end was last asked for
}

// Read starts behind the block with sequence after; 0 is the beginning. The
// error is ErrAhead when the journal does not reach that far: then it is not
// the journal that the position came from, and new records would be overlooked.
func (j *Journal) Read(ctx context.Context, after uint64) (*Reader, error) {
	s, err := j.State(ctx)
	if err != nil {
		return nil, err
	}
	if after > s.Last {
		return nil, fmt.Errorf("read journal after block %d: %w: its last is block %d", after, ErrAhead, s.Last)
	}
	r := &Reader{j: j, after: after}
	if err := r.open(ctx); err != nil {
		return nil, fmt.Errorf("read journal after block %d: %w", after, err)
	}
	return r, nil
}

// open makes a consumer that starts behind r.after.
//
// It keeps nothing on disk and acknowledges nothing: how far processing has
// come is known to the store alone. The library's own ordered consumer would do
// nearly the same, but waits for the server without looking at the context.
func (r *Reader) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := r.j.js.CreateConsumer(ctx, r.j.name, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       r.after + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: readerIdle,
	})
	if err != nil {
		return fmt.Errorf("create consumer: %w", err)
	}
	m, err := c.Messages(
		jetstream.PullMaxMessages(prefetchBlocks),
		jetstream.PullExpiry(30*time.Second),
		jetstream.PullHeartbeat(5*time.Second))
	if err != nil {
		return fmt.Errorf("start reading: %w", err)
	}
	r.name, r.messages, r.fresh = c.CachedInfo().Name, m, true
	return nil
}

// close ends the consumer, if there is one.
func (r *Reader) close(ctx context.Context) error {
	if r.messages == nil {
		return nil
	}
	r.messages.Stop()
	r.messages, r.held = nil, nil
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := r.j.js.DeleteConsumer(ctx, r.j.name, r.name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	return err
}

// Close ends reading. Blocks that were read stay valid.
func (r *Reader) Close() error {
	// The server forgets the consumer by itself if it cannot be told now.
	if err := r.close(context.Background()); err != nil && !r.j.conn.IsClosed() {
		return fmt.Errorf("close journal reader: %w", err)
	}
	return nil
}

// Next waits for the next block. Besides the context's error it returns
//
//   - *GapError: blocks are missing. The next call goes on behind the gap. It
//     also comes first when reading starts before what Trim has left, as a new
//     store does.
//   - *CorruptError: a block is damaged, or not ours. The next call goes on
//     behind it.
//
// Everything else, as a server that is away, it outlasts.
func (r *Reader) Next(ctx context.Context) (Block, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Block{}, err
		}
		if r.messages == nil {
			if err := r.reopen(ctx); err != nil {
				return Block{}, err
			}
		}
		m := r.held
		r.held = nil
		if m == nil {
			var err error
			if m, err = r.receive(ctx); err != nil {
				if gap, ok := errors.AsType[*GapError](err); ok {
					return Block{}, r.tell(gap)
				}
				if ctx.Err() == nil {
					r.j.log.Warn("reading the journal was interrupted", "after", r.after, "err", err)
					r.close(ctx)
				}
				continue
			}
		}
		meta, err := m.Metadata()
		if err != nil {
			r.j.log.Warn("message without metadata from the journal server", "err", err)
			r.close(ctx)
			continue
		}
		sequence := meta.Sequence.Stream
		fresh := r.fresh
		r.fresh, r.pause = false, 0
		if sequence <= r.after {
			continue
		}
		if sequence > r.after+1 {
			// Lost on the way, or lost from the stream? A new consumer that
			// starts right at the gap tells.
			if !fresh {
				r.close(ctx)
				continue
			}
			r.held = m
			return Block{}, r.tell(&GapError{First: r.after + 1, Last: sequence - 1})
		}
		r.after = sequence
		r.j.noteLast(sequence)
		if meta.NumPending > 0 && sequence >= r.j.last.Load() {
			r.look(ctx)
		}
		r.j.metrics.readBlocks.Inc()
		r.j.metrics.readBytes.Add(float64(len(m.Data())))
		b, err := r.j.decode(sequence, meta.Timestamp, m.Data())
		if err != nil {
			r.j.log.Error("a block of the journal is damaged", "block", sequence, "err", err)
		}
		return b, err
	}
}

// tell makes a gap known and steps over it.
func (r *Reader) tell(gap *GapError) error {
	r.after = gap.Last
	r.j.metrics.gaps.Add(float64(gap.Last - gap.First + 1))
	r.j.log.Error("blocks are missing from the journal", "first", gap.First, "last", gap.Last)
	return gap
}

// receive waits for the next message. When one is known to be there and does
// not come, the server may have found it damaged, which it tells nobody; at the
// end of the stream no later message would show the gap.
func (r *Reader) receive(ctx context.Context) (jetstream.Msg, error) {
	last := r.j.last.Load()
	if last <= r.after {
		return r.messages.Next(jetstream.NextContext(ctx))
	}
	short, cancel := context.WithTimeout(ctx, overdueAfter)
	defer cancel()
	m, err := r.messages.Next(jetstream.NextContext(short))
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return m, err
	}
	stream, err := r.j.js.Stream(ctx, r.j.name)
	if err != nil {
		return nil, err
	}
	_, err = stream.GetMsg(ctx, r.after+1, jetstream.WithGetMsgSubject(r.j.name))
	// A replica that lags looks the same, so that only without replicas it is
	// certain that nothing will come.
	if errors.Is(err, jetstream.ErrMsgNotFound) && stream.CachedInfo().Config.Replicas == 1 {
		return nil, &GapError{First: r.after + 1, Last: last}
	}
	return nil, fmt.Errorf("block %d is overdue", r.after+1)
}

// reopen makes a new consumer, more patiently each time it fails.
func (r *Reader) reopen(ctx context.Context) error {
	for {
		if r.pause > 0 {
			timer := time.NewTimer(r.pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			}
		}
		err := r.open(ctx)
		if err == nil {
			// If it breaks again before it has delivered, wait a little.
			r.pause = max(r.pause, 50*time.Millisecond)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.pause = min(max(2*r.pause, 100*time.Millisecond), maxReadPause)
		r.j.log.Warn("the journal cannot be read now", "after", r.after, "retry_in", r.pause, "err", err)
	}
}

// look asks how far the stream reaches when other nodes write to it as well.
// The count that comes with a message would be cheaper, but is wrong where
// messages are missing.
func (r *Reader) look(ctx context.Context) {
	if time.Since(r.looked) < lookEvery {
		return
	}
	r.looked = time.Now()
	if _, err := r.j.State(ctx); err != nil && ctx.Err() == nil {
		r.j.log.Debug("ask how far the journal reaches", "err", err)
	}
}

// Buffered is the number of blocks known to be there behind the last one that
// Next answered for: while it is not 0, Next does not have to wait for new ones.
func (r *Reader) Buffered() uint64 {
	if last := r.j.last.Load(); last > r.after {
		return last - r.after
	}
	return 0
}

// After is the sequence number of the last block that Next has answered for.
func (r *Reader) After() uint64 { return r.after }
