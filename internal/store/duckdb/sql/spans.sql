-- The spans of sessions: those of sealed segments, and the tail's. The verbs: a
-- condition on segment and one on the session and application, the last sealed
-- position, the second condition again.
SELECT session_id, application, first_timestamp, last_timestamp, events
FROM store.session_spans
WHERE %s AND %s
UNION ALL
SELECT session_id, application, min(timestamp), max(timestamp), count(*)
FROM store.events
WHERE position > %d AND %s
GROUP BY session_id, application
