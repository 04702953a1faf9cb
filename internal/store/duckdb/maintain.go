package duckdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/the-eye/eye/internal/crash"
	"github.com/the-eye/eye/internal/event"
)

// maintain does behind a batch what has become due. The batch is committed: an
// error here is logged, and the work is tried again behind the next one.
func (s *Store) maintain(ctx context.Context) {
	if len(s.tail.keys) >= s.options.SegmentEvents {
		if err := s.seal(ctx); err != nil {
			s.log.Warn("segment not sealed, will try again", "err", err)
		}
	}
	if s.walBytes() >= s.options.WALBytes && !s.checkpoint.running() {
		s.checkpoint.start(func() { s.runCheckpoint(ctx) })
	}
	if !s.merging.running() && s.index.Load().mergeable() != nil {
		s.merging.start(func() { s.mergeFilters(ctx) })
	}
}

// walLimit is how often WALBytes the log may grow before the processor has to
// wait for the checkpoint.
const walLimit = 2

// makeRoom waits for a checkpoint when the log grows faster than checkpoints
// empty it.
func (s *Store) makeRoom(ctx context.Context) error {
	if !s.checkpoint.running() || s.walBytes() < walLimit*s.options.WALBytes {
		return nil
	}
	select {
	case <-s.checkpoint.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a checkpoint: %w", context.Cause(ctx))
	}
}

func (s *Store) walBytes() int64 {
	info, err := os.Stat(s.options.Path + ".wal")
	if err != nil {
		return 0 // there is none right behind a checkpoint
	}
	return info.Size()
}

// runCheckpoint moves the log into the file. Commits go on meanwhile.
func (s *Store) runCheckpoint(ctx context.Context) {
	start := time.Now()
	done := make(chan error, 1)
	go func() {
		_, err := s.db.ExecContext(ctx, "CHECKPOINT "+catalog)
		done <- err
	}()
	// Passing the point again and again lets the drill die at any depth of it.
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		crash.Point("store.checkpoint")
		select {
		case err := <-done:
			if err = s.judge(err); err != nil {
				s.log.Warn("checkpoint failed, will try again", "err", err)
			}
			s.metrics.checkpointSeconds.Observe(time.Since(start).Seconds())
			return
		case <-again.C:
		}
	}
}

// seal makes a segment of the tail, and folds the ledger's closed minutes.
func (s *Store) seal(ctx context.Context) error {
	start := time.Now()
	sessions, err := s.sessionsOfTail(ctx)
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	g, f, err := s.tail.segment(sessions)
	if err != nil {
		return err
	}
	bySession, err := saveFuse(g.sessions)
	if err != nil {
		return err
	}
	small, err := saveFuse(g.ids)
	if err != nil {
		return err
	}
	ids, err := saveFuse(f.ids)
	if err != nil {
		return err
	}
	err = s.transaction(ctx, func() error {
		if _, err := s.writer.ExecContext(ctx, fmt.Sprintf(sealSpansSQL, g.first, g.first, g.last)); err != nil {
			return fmt.Errorf("sum up sessions: %w", err)
		}
		_, err := s.writer.ExecContext(ctx, "INSERT INTO store.segments VALUES (?, ?, ?, ?, ?)",
			int64(g.first), int64(g.last), g.events, bySession, small)
		if err != nil {
			return fmt.Errorf("write segment: %w", err)
		}
		_, err = s.writer.ExecContext(ctx, "INSERT INTO store.filters VALUES (?, ?, ?, ?)",
			f.level, int64(f.first), int64(f.last), ids)
		if err != nil {
			return fmt.Errorf("write filter: %w", err)
		}
		if _, err := s.writer.ExecContext(ctx, foldLedgerSQL); err != nil {
			return fmt.Errorf("fold ledger: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.indexMu.Lock()
	s.index.Store(s.index.Load().with(g, f))
	s.indexMu.Unlock()
	s.tail.clear()
	if s.metrics != nil { // not while opening
		s.metrics.sealSeconds.Observe(time.Since(start).Seconds())
	}
	return nil
}

// sessionsOfTail are the keys of the sessions in the tail.
func (s *Store) sessionsOfTail(ctx context.Context) (keys []uint64, err error) {
	err = s.each(ctx, fmt.Sprintf("SELECT DISTINCT session_key FROM store.events WHERE position BETWEEN %d AND %d", s.tail.first, s.tail.last),
		func(scan func(...any) error) error {
			var key int64
			err := scan(&key)
			keys = append(keys, uint64(key))
			return err
		})
	return keys, err
}

// segment is the tail as a segment, with the filter of the lowest level over
// its keys.
func (t *tail) segment(sessions []uint64) (*segment, *filter, error) {
	bySession, err := newFuse[uint16](sessions)
	if err != nil {
		return nil, nil, err
	}
	small, err := newFuse[uint8](slices.Clone(t.keys))
	if err != nil {
		return nil, nil, err
	}
	ids, err := newFuse[uint16](t.keys)
	if err != nil {
		return nil, nil, err
	}
	g := &segment{first: t.first, last: t.last, events: int64(len(t.keys)), sessions: bySession, ids: small}
	return g, &filter{first: t.first, last: t.last, ids: ids, keys: t.keys}, nil
}

// loadIndex reads the segments and filters. The filters are read one by one, so
// that their bytes are not held several times over.
func (s *Store) loadIndex(ctx context.Context) error {
	x := new(index)
	err := s.each(ctx, "SELECT first_position, last_position, events FROM store.segments ORDER BY first_position",
		func(scan func(...any) error) error {
			g := new(segment)
			x.segments = append(x.segments, g)
			return scan(&g.first, &g.last, &g.events)
		})
	if err != nil {
		return fmt.Errorf("read segments: %w", err)
	}
	for _, g := range x.segments {
		var sessions, ids []byte
		err := s.writer.QueryRowContext(ctx, fmt.Sprintf("SELECT sessions, ids FROM store.segments WHERE first_position = %d", g.first)).Scan(&sessions, &ids)
		if err != nil {
			return fmt.Errorf("read filters of a segment: %w", err)
		}
		if g.sessions, err = loadFuse[uint16](sessions); err != nil {
			return err
		}
		if g.ids, err = loadFuse[uint8](ids); err != nil {
			return err
		}
		x.sealed = g.last
	}
	err = s.each(ctx, "SELECT level, first_position, last_position FROM store.filters ORDER BY first_position",
		func(scan func(...any) error) error {
			f := new(filter)
			x.filters = append(x.filters, f)
			return scan(&f.level, &f.first, &f.last)
		})
	if err != nil {
		return fmt.Errorf("read filters: %w", err)
	}
	for _, f := range x.filters {
		var ids []byte
		err := s.writer.QueryRowContext(ctx, fmt.Sprintf("SELECT ids FROM store.filters WHERE first_position = %d", f.first)).Scan(&ids)
		if err != nil {
			return fmt.Errorf("read filter: %w", err)
		}
		if f.ids, err = loadFuse[uint16](ids); err != nil {
			return err
		}
	}
	s.index.Store(x)
	return nil
}

// dropIndex forgets all segments. loadTail then makes them again.
func (s *Store) dropIndex(ctx context.Context) error {
	err := s.transaction(ctx, func() error {
		_, err := s.writer.ExecContext(ctx, "DELETE FROM store.segments; DELETE FROM store.filters; DELETE FROM store.session_spans")
		return err
	})
	if err != nil {
		return fmt.Errorf("drop segments: %w", err)
	}
	s.index.Store(new(index))
	return nil
}

// each runs a query on the writer's connection and hands over its rows.
func (s *Store) each(ctx context.Context, query string, row func(scan func(...any) error) error) error {
	rows, err := s.writer.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// mergeFilters merges until nothing is left to merge.
func (s *Store) mergeFilters(ctx context.Context) {
	for !s.closed.Load() {
		parts := s.index.Load().mergeable()
		if parts == nil {
			return
		}
		start := time.Now()
		if err := s.merge(ctx, parts); err != nil {
			s.log.Warn("filters not merged, will try again", "err", err)
			return
		}
		s.metrics.mergeSeconds.Observe(time.Since(start).Seconds())
	}
}

// merge makes one filter of several, in the file first.
func (s *Store) merge(ctx context.Context, parts []*filter) error {
	f := &filter{level: parts[0].level + 1, first: parts[0].first, last: parts[len(parts)-1].last}
	var keys []uint64
	for _, part := range parts {
		part := part
		more := part.keys
		if more == nil {
			var err error
			if more, err = s.readKeys(ctx, part); err != nil {
				return fmt.Errorf("read keys: %w", err)
			}
		}
		keys = append(keys, more...)
	}
	var err error
	if f.ids, err = newFuse[uint16](keys); err != nil {
		return err
	}
	if f.level < topLevel {
		f.keys = keys
	}
	ids, err := saveFuse(f.ids)
	if err != nil {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return s.judge(err)
	}
	defer tx.Rollback() // after a commit it does nothing
	_, err = tx.ExecContext(ctx, fmt.Sprintf("DELETE FROM store.filters WHERE first_position BETWEEN %d AND %d", f.first, f.last))
	if err != nil {
		return s.judge(fmt.Errorf("delete filters: %w", err))
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO store.filters VALUES (?, ?, ?, ?)", f.level, int64(f.first), int64(f.last), ids)
	if err != nil {
		return s.judge(fmt.Errorf("write filter: %w", err))
	}
	if err := tx.Commit(); err != nil {
		return s.judge(fmt.Errorf("commit filter: %w", err))
	}
	s.indexMu.Lock()
	s.index.Store(s.index.Load().merged(f))
	s.indexMu.Unlock()
	return nil
}

// readKeys reads from the events what a filter was made of.
func (s *Store) readKeys(ctx context.Context, f *filter) ([]uint64, error) {
	rows, err := s.db.QueryContext(ctx, fmt.Sprintf(
		"SELECT application, id FROM store.events WHERE position BETWEEN %d AND %d", f.first, f.last))
	if err != nil {
		return nil, err
	}
	var keys []uint64
	for rows.Next() {
		var k event.Key
		if err := rows.Scan(&k.Application, &k.ID); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		keys = append(keys, idKey(k.Hash()))
	}
	return keys, errors.Join(rows.Err(), rows.Close())
}
