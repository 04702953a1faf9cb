-- The sessions of the tail that begin last. The verbs: the last sealed position,
-- a condition on application, the conditions on first_timestamp, how many.
SELECT session_id, epoch_us(first_timestamp)
FROM (
  SELECT session_id, min(timestamp) AS first_timestamp
  FROM store.events
  WHERE position > %d AND %s
  GROUP BY session_id, application
)
WHERE %s
ORDER BY first_timestamp DESC
LIMIT %d
