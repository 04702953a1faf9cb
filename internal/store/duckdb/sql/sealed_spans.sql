-- The spans of sealed segments that begin last. Not in one statement with those
-- of the tail: alone, the engine skips what cannot be among them. The verbs: the
-- last sealed position, a condition on application, the conditions on
-- first_timestamp, how many.
SELECT session_id, epoch_us(first_timestamp)
FROM store.session_spans
WHERE segment <= %d AND %s AND %s
ORDER BY first_timestamp DESC
LIMIT %d
