package duckdb

import (
	"context"
	"fmt"
	"strings"

	"github.com/the-eye/eye/internal/store"
)

// Sessions implements store.Reader.
func (s *Store) Sessions(ctx context.Context, q store.SessionQuery) (sessions []store.Session, err error) {
	err = s.read(ctx, "read sessions", func(v *snapshot) error {
		var args conditions // only for its parameters
		application, members := "true", "true"
		if q.Application != "" {
			application = "application = " + args.parameter(q.Application)
		}
		if q.Contains != nil {
			members = fmt.Sprintf("session_id IN (SELECT session_id FROM store.events WHERE category = %s AND name = %s AND %s)",
				args.parameter(q.Contains.Category), args.parameter(q.Contains.Name), application)
		}
		summary := []string{"true"}
		if q.From != 0 {
			summary = append(summary, "max(last_timestamp) >= "+timestamp(q.From))
		}
		if q.To != 0 {
			summary = append(summary, "min(first_timestamp) < "+timestamp(q.To))
		}
		if q.After != nil {
			first := timestamp(q.After.FirstTimestamp)
			summary = append(summary, fmt.Sprintf("(min(first_timestamp) < %s OR (min(first_timestamp) = %s AND session_id > %s))",
				first, first, args.parameter(q.After.ID)))
		}
		statement := fmt.Sprintf(sessionsSQL, v.x.sealed, application, v.x.sealed, application, members,
			strings.Join(summary, " AND "), q.Limit)
		return v.each(statement, args.args, func(scan func(...any) error) error {
			var one store.Session
			var applications any
			if err := scan(&one.ID, &one.FirstTimestamp, &one.LastTimestamp, &one.Events, &applications); err != nil {
				return err
			}
			one.Applications = texts(applications)
			sessions = append(sessions, one)
			return nil
		})
	})
	return sessions, err
}

// Session implements store.Reader.
func (s *Store) Session(ctx context.Context, id, application string) (session store.Session, err error) {
	err = s.read(ctx, "read session", func(v *snapshot) error {
		segments := []string{"false"}
		key := sessionKey(id)
		for _, g := range v.x.segments {
			if g.sessions.Contains(key) {
				segments = append(segments, fmt.Sprintf("segment = %d", g.first))
			}
		}
		found := false
		statement := fmt.Sprintf(sessionSQL, strings.Join(segments, " OR "), v.x.sealed)
		err := v.each(statement, []any{id, application}, func(scan func(...any) error) error {
			var applications any
			found = true
			session.ID = id
			if err := scan(&session.FirstTimestamp, &session.LastTimestamp, &session.Events, &applications); err != nil {
				return err
			}
			session.Applications = texts(applications)
			return nil
		})
		if err == nil && !found {
			err = store.ErrNotFound
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
