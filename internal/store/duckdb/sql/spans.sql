-- The spans of sessions: those of sealed segments, and the tail's. The verbs: a
-- condition on segment and one on application, the last sealed position, the
-- condition on application again.
SELECT session_id, session_key, application, first_timestamp, last_timestamp, events
FROM store.session_spans
WHERE %s AND %s
UNION ALL
SELECT session_id, session_key, application, min(timestamp), max(timestamp), count(*)
FROM store.events
WHERE position > %d AND %s
GROUP BY session_id, session_key, application
