package duckdb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/store"
)

// Sessions implements store.Reader.
//
// Summing up every session to find the newest few would read all spans. So the
// newest spans are taken first: a session that began after the oldest of them
// is among theirs, and only those are summed up. When too few remain, more
// spans are taken, and in the end all.
func (s *Store) Sessions(ctx context.Context, q store.SessionQuery) (sessions []store.Session, err error) {
	err = s.read(ctx, "read sessions", func(v *snapshot) error {
		for n := 4 * q.Limit; n <= maxNewest; n *= 8 {
			found, err := v.newestSpans(q, n)
			if err != nil {
				return err
			}
			if sessions, err = v.sumUp(q, found.ids, found.after); err != nil {
				return err
			}
			if len(sessions) == q.Limit || found.after == nil {
				return nil
			}
		}
		sessions, err = v.sumUp(q, nil, nil)
		return err
	})
	return sessions, err
}

// maxNewest is up to how many spans are taken before all are.
const maxNewest = 5000

// newest are the sessions of the newest spans.
type newest struct {
	ids   []string
	after *event.Micros // no other session began later; nil: there is no other at all
}

// newestSpans are the n spans that begin last, of those where a session on the
// page can begin.
func (v *snapshot) newestSpans(q store.SessionQuery, n int) (found newest, _ error) {
	var c conditions
	application := c.application(q.Application)
	limits := []string{"true"}
	if q.To != 0 {
		limits = append(limits, "first_timestamp < "+timestamp(q.To))
	}
	if q.After != nil {
		limits = append(limits, "first_timestamp <= "+timestamp(q.After.FirstTimestamp))
	}
	limit := strings.Join(limits, " AND ")
	type begin struct {
		at event.Micros
		id string
	}
	var begins []begin
	for _, statement := range []string{sealedSpansSQL, tailSpansSQL} {
		err := v.each(fmt.Sprintf(statement, v.x.sealed, application, limit, n), c.args, func(scan func(...any) error) error {
			var b begin
			err := scan(&b.id, &b.at)
			begins = append(begins, b)
			return err
		})
		if err != nil {
			return newest{}, err
		}
	}
	slices.SortFunc(begins, func(a, b begin) int { return cmp.Compare(b.at, a.at) })
	if len(begins) >= n {
		begins = begins[:n]
		found.after = &begins[n-1].at
	}
	for _, b := range begins {
		found.ids = append(found.ids, b.id)
	}
	slices.Sort(found.ids)
	found.ids = slices.Compact(found.ids)
	return found, nil
}

// sumUp is the page of sessions, of all of them when ids is nil. Those that
// began at after or earlier are left out.
func (v *snapshot) sumUp(q store.SessionQuery, ids []string, after *event.Micros) (sessions []store.Session, err error) {
	if ids != nil && len(ids) == 0 {
		return nil, nil
	}
	var c conditions
	application := c.application(q.Application)
	segments, events := fmt.Sprintf("segment <= %d", v.x.sealed), "store.events"
	rows := application
	if ids != nil {
		keys := make([]int64, len(ids))
		for i, id := range ids {
			keys[i] = int64(sessionKey(id))
		}
		rows += " AND " + sessionKeys(&c, keys)
		segments = v.x.segmentsOf(ids...)
		events = from(v.x.spans(ids...), "session_id, session_key, application, category, name")
		c.add("session_id IN (SELECT unnest(?::VARCHAR[]))", ids)
	}
	if q.Contains != nil {
		c.add("session_id IN (SELECT session_id FROM "+events+" WHERE category = ? AND name = ? AND "+application+")",
			q.Contains.Category, q.Contains.Name)
	}
	members := c.String()
	c.parts = nil
	if q.From != 0 {
		c.add("max(last_timestamp) >= " + timestamp(q.From))
	}
	if q.To != 0 {
		c.add("min(first_timestamp) < " + timestamp(q.To))
	}
	if q.After != nil {
		first := timestamp(q.After.FirstTimestamp)
		c.add("(min(first_timestamp) < "+first+" OR (min(first_timestamp) = "+first+" AND session_id > ?))", q.After.ID)
	}
	if after != nil {
		c.add("min(first_timestamp) > " + timestamp(*after))
	}
	spans := fmt.Sprintf(spansSQL, segments, rows, v.x.sealed, rows)
	err = v.each(fmt.Sprintf(sessionsSQL, spans, members, c.String(), q.Limit), c.args, func(scan func(...any) error) error {
		var one store.Session
		var applications any
		if err := scan(&one.ID, &one.FirstTimestamp, &one.LastTimestamp, &one.Events, &applications); err != nil {
			return err
		}
		one.Applications = texts(applications)
		sessions = append(sessions, one)
		return nil
	})
	return sessions, err
}

// application is the condition on application as text, for several places of a
// statement.
func (c *conditions) application(application string) string {
	if application == "" {
		return "true"
	}
	return "application = " + c.parameter(application)
}

// sessionKeys is the condition that session_key is one of the keys.
func sessionKeys(c *conditions, keys []int64) string {
	if len(keys) == 1 {
		return fmt.Sprintf("session_key = %d", keys[0])
	}
	return "session_key IN (SELECT unnest(" + c.parameter(keys) + "::BIGINT[]))"
}

// segmentsOf is the condition that a span lies in a segment that may know one
// of the sessions.
func (x *index) segmentsOf(sessions ...string) string {
	spans := x.spans(sessions...)
	firsts := make([]event.Position, 0, len(spans))
	for _, s := range spans[:len(spans)-1] { // the last one is the tail
		firsts = append(firsts, s.first)
	}
	if len(firsts) == 0 {
		return "false"
	}
	return "segment IN (" + list(firsts) + ")"
}

// Session implements store.Reader.
func (s *Store) Session(ctx context.Context, id, application string) (session store.Session, err error) {
	err = s.read(ctx, "read session", func(v *snapshot) error {
		found, err := v.sumUp(store.SessionQuery{Application: application, Limit: 1}, []string{id}, nil)
		if err == nil && len(found) == 0 {
			err = store.ErrNotFound
		}
		if err == nil {
			session = found[0]
		}
		return err
	})
	return session, err
}

// texts is a list of text as the driver gives it.
func texts(v any) []string {
	elements, _ := v.([]any)
	found := make([]string, 0, len(elements))
	for _, e := range elements {
		if text, ok := e.(string); ok {
			found = append(found, text)
		}
	}
	return found
}
