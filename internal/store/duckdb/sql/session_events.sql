-- One page of one session with the places that its events have in the whole of
-- it. The verbs: the spans in which it may lie, the columns that the conditions
-- need, the conditions, the direction (three times), the limit.
SELECT position, place
FROM (
  SELECT position, timestamp, sequence, row_number() OVER (ORDER BY timestamp, sequence, position) AS place%s
  FROM store.events
  WHERE (%s) AND session_id = $1
)
WHERE %s
ORDER BY timestamp %s, sequence %s, position %s
LIMIT %d
