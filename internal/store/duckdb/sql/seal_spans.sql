-- Parameters: the segment, its first and its last position.
INSERT INTO store.session_spans
SELECT %d, session_id, session_key, application, min(timestamp), max(timestamp), count(*)
FROM store.events
WHERE position BETWEEN %d AND %d
GROUP BY session_id, session_key, application
