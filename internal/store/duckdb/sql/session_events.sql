-- One page of one session with the places that its events have in the whole of
-- it. The verbs: a table of the spans in which it may lie, the conditions, the
-- direction (three times), the limit.
SELECT position, place
FROM (
  SELECT *, row_number() OVER (ORDER BY timestamp, sequence, position) AS place
  FROM %s
  WHERE session_key = $2 AND session_id = $1
)
WHERE %s
ORDER BY timestamp %s, sequence %s, position %s
LIMIT %d
