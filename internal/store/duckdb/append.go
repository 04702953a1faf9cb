package duckdb

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	duck "github.com/duckdb/duckdb-go/v2"

	"github.com/the-eye/eye/internal/crash"
	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// CommittedBlock implements store.Writer.
func (s *Store) CommittedBlock(context.Context) (uint64, error) {
	if fault := s.fault.Load(); fault != nil {
		return 0, *fault
	}
	return s.block.Load(), nil
}

// Append implements store.Writer. The positions of events must ascend, and lie
// behind those of all batches before: that is the order of the journal.
// A batch of a whole row group (65,536 events) costs a quarter less than as many
// events in small batches.
func (s *Store) Append(ctx context.Context, b *store.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return fmt.Errorf("append to store: %w", errClosed)
	}
	if err := s.Check(ctx); err != nil {
		return err
	}
	if err := s.checkBatch(b); err != nil {
		return fmt.Errorf("append to store: %w", err)
	}
	if err := s.makeRoom(ctx); err != nil {
		return fmt.Errorf("append to store: %w", err)
	}
	start := time.Now()
	err := s.transaction(ctx, func() error {
		if err := s.writeRows(ctx, b); err != nil {
			return err
		}
		crash.Point("store.transaction")
		_, err := s.writer.ExecContext(ctx, "UPDATE store.meta SET block = ?", int64(b.Block))
		return err
	})
	if err != nil {
		return fmt.Errorf("append block %d to store: %w", b.Block, s.unchanged(ctx, err))
	}
	s.committed(b)
	s.metrics.appendSeconds.Observe(time.Since(start).Seconds())
	s.maintain(context.WithoutCancel(ctx))
	return nil
}

// unchanged is err when the file holds nothing of a batch that failed, as is
// usual. Otherwise the store is broken: only opening it again shows what it has.
func (s *Store) unchanged(ctx context.Context, err error) error {
	if errors.Is(err, store.ErrBroken) {
		return err
	}
	var block int64
	read := s.writer.QueryRowContext(context.WithoutCancel(ctx), "SELECT block FROM store.meta").Scan(&block)
	switch {
	case read != nil:
		return s.breakWith(errors.Join(err, fmt.Errorf("read back: %w", read)))
	case uint64(block) != s.block.Load():
		return s.breakWith(fmt.Errorf("%w, and yet the block is there", err))
	}
	return err
}

// checkBatch refuses what would break the order that everything here builds on.
func (s *Store) checkBatch(b *store.Batch) error {
	if committed := s.block.Load(); b.Block <= committed {
		return fmt.Errorf("block %d is not behind the committed block %d", b.Block, committed)
	}
	last := s.lastPosition
	for i := range b.Events {
		p := b.Events[i].Position
		if p <= last || p > everything.last {
			return fmt.Errorf("event at position %d does not follow position %d", p, last)
		}
		last = p
	}
	return nil
}

// writeRows appends the rows of the batch inside the running transaction.
func (s *Store) writeRows(ctx context.Context, b *store.Batch) error {
	err := s.appendRows(ctx, "events", len(b.Events), func(i int, row []driver.Value) []driver.Value {
		e := &b.Events[i]
		row = append(row, int64(e.Position), e.Application, e.ID, e.SessionID, int64(sessionKey(e.SessionID)), e.Category, e.Name, e.Data,
			e.Timestamp.Time(), e.Sequence, e.ReceivedAt.Time(), e.SchemaVersion)
		if e.Violations == nil {
			return append(row, nil)
		}
		return append(row, e.Violations)
	})
	if err != nil {
		return err
	}
	err = s.appendRows(ctx, "duplicates", len(b.Duplicates), func(i int, row []driver.Value) []driver.Value {
		d := &b.Duplicates[i]
		return append(row, int64(d.Position), int64(d.Original), d.Application, d.Conflict)
	})
	if err != nil {
		return err
	}
	err = s.appendRows(ctx, "quarantine", len(b.Refusals), func(i int, row []driver.Value) []driver.Value {
		r := &b.Refusals[i]
		violations, err := json.Marshal(r.Violations)
		if err != nil {
			panic("store: violations are plain values: " + err.Error())
		}
		original := r.Original
		if original == nil {
			original = []byte{}
		}
		return append(row, int64(r.Position), valid(r.Application), valid(r.ID), valid(r.SessionID),
			valid(r.Category), valid(r.Name), r.ReceivedAt.Time(), violations, original)
	})
	if err != nil {
		return err
	}
	return s.appendRows(ctx, "ledger_changes", len(b.Counts), func(i int, row []driver.Value) []driver.Value {
		c := &b.Counts[i]
		return append(row, c.Minute.Time(), c.Application, valid(c.Category), valid(c.Name),
			c.Received, c.Stored, c.Duplicate, c.Quarantined, c.Discarded)
	})
}

// valid is text that the engine takes: what was refused may be no UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// appendRows appends n rows to a table; values fills one.
func (s *Store) appendRows(ctx context.Context, table string, n int, values func(i int, row []driver.Value) []driver.Value) error {
	if n == 0 {
		return nil
	}
	err := s.writer.Raw(func(c any) (err error) {
		a, err := duck.NewAppender(c.(driver.Conn), catalog, "store", table)
		if err != nil {
			return err
		}
		var row []driver.Value
		for i := range n {
			row = values(i, row[:0])
			if err := a.AppendRow(row...); err != nil {
				return errors.Join(err, a.Clear(), a.Close())
			}
		}
		return a.CloseWithCancel(ctx)
	})
	if err != nil {
		return fmt.Errorf("append to %s: %w", table, err)
	}
	return nil
}

// committed brings what is held in memory up to the batch.
func (s *Store) committed(b *store.Batch) {
	s.tail.mu.Lock()
	for i := range b.Events {
		e := &b.Events[i]
		s.tail.add(e.Key().Hash(), store.Original{Position: e.Position, Digest: e.Digest()})
		s.lastPosition = e.Position
	}
	s.tail.mu.Unlock()
	s.block.Store(b.Block)
	s.count.events.Add(int64(len(b.Events)))
	s.count.quarantined.Add(int64(len(b.Refusals)))
	s.metrics.rows.WithLabelValues("event").Add(float64(len(b.Events)))
	s.metrics.rows.WithLabelValues("duplicate").Add(float64(len(b.Duplicates)))
	s.metrics.rows.WithLabelValues("refusal").Add(float64(len(b.Refusals)))
}

// load reads what is held in memory from the file.
func (s *Store) load(ctx context.Context) error {
	var block, events, quarantined int64
	err := s.writer.QueryRowContext(ctx, `SELECT block, (SELECT count(*) FROM store.events),
		(SELECT count(*) FROM store.quarantine) FROM store.meta`).Scan(&block, &events, &quarantined)
	if err != nil {
		return fmt.Errorf("read counts: %w", err)
	}
	s.block.Store(uint64(block))
	s.count.events.Store(events)
	s.count.quarantined.Store(quarantined)
	if err := s.loadIndex(ctx); err != nil {
		return err
	}
	if !s.index.Load().covered() {
		s.log.Warn("filters do not cover the segments, all are built anew", "events", events)
		if err := s.dropIndex(ctx); err != nil {
			return err
		}
	}
	return s.loadTail(ctx)
}

// loadTail reads the keys behind the last segment, and seals on the way what
// is long enough: usually nothing, everything when the segments were dropped.
func (s *Store) loadTail(ctx context.Context) error {
	s.tail = newTail()
	s.lastPosition = s.index.Load().sealed
	for {
		n := 0
		rows, err := s.writer.QueryContext(ctx, fmt.Sprintf(`SELECT position, application, id
			FROM store.events WHERE position > %d ORDER BY position LIMIT %d`, s.lastPosition, s.options.SegmentEvents))
		if err != nil {
			return fmt.Errorf("read tail: %w", err)
		}
		for rows.Next() {
			var p event.Position
			var key event.Key
			if err := rows.Scan(&p, &key.Application, &key.ID); err != nil {
				return fmt.Errorf("read tail: %w", errors.Join(err, rows.Close()))
			}
			s.tail.add(key.Hash(), store.Original{Position: p}) // the digest waits until somebody asks
			s.lastPosition = p
			n++
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return fmt.Errorf("read tail: %w", err)
		}
		if n < s.options.SegmentEvents {
			return nil
		}
		if err := s.seal(ctx); err != nil {
			return fmt.Errorf("seal: %w", err)
		}
	}
}
