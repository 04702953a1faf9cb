package duckdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// snapshot is one reader's view: what was committed when it began.
type snapshot struct {
	ctx context.Context
	tx  querier
	x   *index
}

// querier is a connection or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// read runs do on a snapshot.
func (s *Store) read(ctx context.Context, what string, do func(*snapshot) error) error {
	leave, err := s.reading()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer leave()
	// The index first: what it calls sealed is then sealed in the snapshot too.
	x := s.index.Load()
	tx, err := s.db.BeginTx(ctx, nil)
	if err == nil {
		err = do(&snapshot{ctx, tx, x})
		err = errors.Join(err, ignoreDone(tx.Rollback()))
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	default:
		return fmt.Errorf("%s: %w", what, s.judge(err))
	}
}

// ignoreDone is err unless a cancelled context has already ended the
// transaction.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// each hands over the rows of a query.
func (q *snapshot) each(query string, args []any, row func(scan func(...any) error) error) error {
	rows, err := q.tx.QueryContext(q.ctx, query, args...)
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

// columns of an event, as scanEvent takes them.
const columns = `position, application, id, session_id, category, name, data, epoch_us(timestamp), sequence,
	epoch_us(received_at), schema_version, violations`

func scanEvent(scan func(...any) error, e *event.Event) error {
	var data string
	var violations sql.NullString
	err := scan(&e.Position, &e.Application, &e.ID, &e.SessionID, &e.Category, &e.Name, &data, &e.Timestamp,
		&e.Sequence, &e.ReceivedAt, &e.SchemaVersion, &violations)
	if err != nil {
		return err
	}
	e.Data = []byte(data)
	if violations.Valid {
		e.Violations = []byte(violations.String)
	}
	return nil
}

// at reads the events at the positions, in the order of positions.
func (q *snapshot) at(positions []event.Position) ([]store.Row, error) {
	if len(positions) == 0 {
		return nil, nil
	}
	ascending := slices.Sorted(slices.Values(positions))
	rows := make(map[event.Position]store.Row, len(positions))
	for _, group := range q.x.group(ascending) {
		err := q.each(selectAt(group), nil, func(scan func(...any) error) error {
			var r store.Row
			if err := scanEvent(scan, &r.Event); err != nil {
				return err
			}
			rows[r.Position] = r
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
	}
	answer := make([]store.Row, len(positions))
	for i, p := range positions {
		r, ok := rows[p]
		if !ok {
			return nil, fmt.Errorf("event at position %d has gone", p)
		}
		answer[i] = r
	}
	return answer, nil
}

// A lookup by position decompresses a vector of 2,048 rows; many lookups into
// one segment are better served by scanning between the outermost.
const (
	fewPositions = 16 // that are looked up one by one, in one statement
)

// group splits ascending positions into those of one segment each, and gathers
// the segments with few into groups of few.
func (x *index) group(ascending []event.Position) [][]event.Position {
	var groups [][]event.Position
	var few []event.Position
	for len(ascending) > 0 {
		end := len(ascending)
		if i := x.segmentAt(ascending[0]); i < len(x.segments) {
			last := x.segments[i].last
			end, _ = slices.BinarySearch(ascending, last+1)
		}
		if end > fewPositions {
			groups = append(groups, ascending[:end])
		} else {
			few = append(few, ascending[:end]...)
		}
		ascending = ascending[end:]
	}
	return slices.AppendSeq(groups, slices.Chunk(few, fewPositions))
}

// selectAt is the statement that reads the events at these positions.
func selectAt(ascending []event.Position) string {
	if len(ascending) > fewPositions {
		return fmt.Sprintf("SELECT %s FROM store.events WHERE position BETWEEN %d AND %d AND position IN (%s)",
			columns, ascending[0], ascending[len(ascending)-1], list(ascending))
	}
	// The engine prunes one position far better than a list of them.
	statements := make([]string, len(ascending))
	for i, p := range ascending {
		statements[i] = fmt.Sprintf("SELECT %s FROM store.events WHERE position = %d", columns, p)
	}
	return strings.Join(statements, " UNION ALL ")
}

// list of positions for an IN.
func list(positions []event.Position) string {
	b := make([]byte, 0, 20*len(positions))
	for i, p := range positions {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(p), 10)
	}
	return string(b)
}

// inSpans is the condition that position lies in one of the spans.
func inSpans(spans []span) string {
	conditions := make([]string, len(spans))
	for i, s := range spans {
		conditions[i] = fmt.Sprintf("position BETWEEN %d AND %d", s.first, s.last)
	}
	return strings.Join(conditions, " OR ")
}

// conditions gathers what a statement asks for. Text becomes a parameter.
type conditions struct {
	parts []string
	args  []any
}

// add takes a condition in which each ? stands for one of the args.
func (c *conditions) add(condition string, args ...any) {
	var b strings.Builder
	for _, arg := range args {
		before, after, _ := strings.Cut(condition, "?")
		c.args = append(c.args, arg)
		fmt.Fprintf(&b, "%s$%d", before, len(c.args))
		condition = after
	}
	c.parts = append(c.parts, b.String()+condition)
}

// parameter is the parameter that stands for arg.
func (c *conditions) parameter(arg any) string {
	c.args = append(c.args, arg)
	return "$" + strconv.Itoa(len(c.args))
}

// String is all conditions together, or one that always holds.
func (c *conditions) String() string {
	if len(c.parts) == 0 {
		return "true"
	}
	return strings.Join(c.parts, " AND ")
}
