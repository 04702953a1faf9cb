package process

import (
	"context"
	"errors"
	"fmt"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/journal"
)

// decoded is one block and what it holds. Text and bytes of the records lie in
// the block, which must not be released before they are done with.
type decoded struct {
	block    journal.Block
	events   []event.Event
	refusals []event.Refusal
	bytes    int
	behind   bool // many blocks are waiting behind this one
}

// behindBlocks is how many blocks have to be waiting for the processor to be
// called behind. A few always are: those that came while the store was busy.
const behindBlocks = 16

// read decodes blocks until ctx is done or the journal fails.
func (p *Processor) read(ctx context.Context, after uint64, blocks chan<- *decoded) error {
	r, err := p.o.Journal.Read(ctx, after)
	if err != nil {
		return fmt.Errorf("read the journal from block %d on: %w", after+1, err)
	}
	defer r.Close()
	for {
		block, err := r.Next(ctx)
		if p.lost(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		d, err := decode(block)
		if err != nil {
			p.lost(&journal.CorruptError{Sequence: block.Sequence, Err: err})
			block.Release()
			continue
		}
		d.behind = r.Buffered() >= behindBlocks
		select {
		case blocks <- d:
		case <-ctx.Done():
			block.Release()
			return ctx.Err()
		}
	}
}

// lost reports whether err says that the disk has damaged the journal. Nobody
// can bring those records back, and standing still would lose the ones behind
// them too: so it is said as loudly as can be, and processing goes on.
func (p *Processor) lost(err error) bool {
	if gap, ok := errors.AsType[*journal.GapError](err); ok {
		p.o.Log.Error("acknowledged blocks are missing from the journal: its files are damaged; restore them from a backup",
			"first", gap.First, "last", gap.Last)
		p.metrics.lost.Add(float64(gap.Last - gap.First + 1))
		return true
	}
	if corrupt, ok := errors.AsType[*journal.CorruptError](err); ok {
		p.o.Log.Error("an acknowledged block cannot be read: the journal's files are damaged; restore them from a backup",
			"block", corrupt.Sequence, "err", corrupt.Err)
		p.metrics.lost.Inc()
		return true
	}
	return false
}

// decode takes the records out of a block.
func decode(block journal.Block) (*decoded, error) {
	d := &decoded{block: block, events: make([]event.Event, 0, block.Records)}
	index := 0
	for _, b := range block.Batches {
		n := 0
		err := event.DecodeRecords(b.Records, event.At(block.Sequence, index), func(r event.Record) error {
			if n++; r.Refusal != nil {
				d.refusals = append(d.refusals, *r.Refusal)
			} else {
				d.events = append(d.events, *r.Event)
			}
			return nil
		})
		if err == nil && n != b.Count {
			err = fmt.Errorf("%w: %d records where %d were written", event.ErrRecords, n, b.Count)
		}
		if err != nil {
			return nil, err
		}
		index += n
		d.bytes += len(b.Records)
	}
	return d, nil
}

// batch is the blocks of one transaction.
type batch struct {
	blocks      []*decoded
	events      int // records, refusals included
	bytes       int
	first, last uint64 // block numbers
	behind      bool   // many blocks are waiting behind last
}

func (b *batch) add(d *decoded) {
	if len(b.blocks) == 0 {
		b.first = d.block.Sequence
	}
	b.last = d.block.Sequence
	b.blocks = append(b.blocks, d)
	b.events += len(d.events) + len(d.refusals)
	b.bytes += d.bytes
	b.behind = d.behind
}

// release lets go of the blocks and makes the batch empty.
func (b *batch) release() {
	for _, d := range b.blocks {
		d.block.Release()
	}
	clear(b.blocks)
	*b = batch{blocks: b.blocks[:0]}
}
