package duckdb

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

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
func (v *snapshot) each(query string, args []any, row func(scan func(...any) error) error) error {
	for _, arg := range args {
		if !isText(arg) {
			return errNoText
		}
	}
	rows, err := v.tx.QueryContext(v.ctx, query, args...)
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

// errNoText: the engine knows text in UTF-8 only, and its driver ends the whole
// process over a list that holds anything else (found 2026-11-23, DuckDB 1.5.6).
var errNoText = errors.New("an argument is no UTF-8")

func isText(arg any) bool {
	switch arg := arg.(type) {
	case string:
		return utf8.ValidString(arg)
	case []string:
		return !slices.ContainsFunc(arg, func(s string) bool { return !utf8.ValidString(s) })
	}
	return true
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
func (v *snapshot) at(positions []event.Position) ([]store.Row, error) {
	if len(positions) == 0 {
		return nil, nil
	}
	rows := make(map[event.Position]store.Row, len(positions))
	clusters := v.x.clusters(slices.Sorted(slices.Values(positions)))
	for some := range slices.Chunk(clusters, maxBranches) {
		branches := make([]string, len(some))
		for i, c := range some {
			branches[i] = fmt.Sprintf("SELECT %s FROM store.events WHERE %s", columns, c)
		}
		err := v.each(strings.Join(branches, " UNION ALL "), nil, func(scan func(...any) error) error {
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

// The engine skips row groups by a range or by a single value, but not by
// several ranges joined with OR: each gets a branch of a UNION ALL of its own.
// maxBranches bounds the planning of one statement.
const maxBranches = 32

// cluster is a run of ascending positions that is cheaper to read in one scan
// than one by one.
type cluster []event.Position

// String is the condition that an event lies in the cluster.
func (c cluster) String() string {
	if len(c) == 1 {
		return fmt.Sprintf("position = %d", c[0])
	}
	return fmt.Sprintf("position BETWEEN %d AND %d AND position IN (%s)", c[0], c[len(c)-1], list(c))
}

// clusterRows is how many events two neighbours of a cluster may have between
// them: the engine reads by vectors of 2,048.
const clusterRows = 2048

// clusters splits ascending positions where a gap is worth skipping.
func (x *index) clusters(ascending []event.Position) []cluster {
	var clusters []cluster
	start := 0
	for i := range ascending {
		if i+1 == len(ascending) || ascending[i+1]-ascending[i] > x.width(ascending[i])*clusterRows {
			clusters = append(clusters, ascending[start:i+1])
			start = i + 1
		}
	}
	return clusters
}

// width is how many positions an event takes around p: blocks that are not
// full leave most of theirs unused.
func (x *index) width(p event.Position) event.Position {
	if len(x.segments) == 0 {
		return event.MaxBlockRecords
	}
	g := x.segments[min(x.segmentAt(p), len(x.segments)-1)]
	return (g.last-g.first)/event.Position(g.events) + 1
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

// from is a table with these columns of the events in the spans that meet all
// further conditions.
func from(spans []span, columns string, further ...string) string {
	where := ""
	for _, condition := range further {
		where += condition + " AND "
	}
	spans = fewer(spans, maxBranches)
	branches := make([]string, len(spans))
	for i, s := range spans {
		branches[i] = fmt.Sprintf("SELECT %s FROM store.events WHERE %sposition BETWEEN %d AND %d", columns, where, s.first, s.last)
	}
	return "(" + strings.Join(branches, " UNION ALL ") + ")"
}

// fewer joins ascending spans that follow each other closest until at most n
// are left.
func fewer(spans []span, n int) []span {
	if len(spans) <= n {
		return spans
	}
	gaps := make([]event.Position, len(spans)-1) // before span i+1
	for i := range gaps {
		gaps[i] = spans[i+1].first - spans[i].last
	}
	// The n-1 widest gaps stay; among equals the first ones.
	widest := slices.Clone(gaps)
	slices.SortFunc(widest, func(a, b event.Position) int { return cmp.Compare(b, a) })
	limit := widest[n-1]
	joined := spans[:1:1]
	for i, s := range spans[1:] {
		if gaps[i] > limit {
			joined = append(joined, s)
		} else {
			joined[len(joined)-1].last = s.last
		}
	}
	return joined
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
