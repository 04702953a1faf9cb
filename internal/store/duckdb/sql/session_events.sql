-- One page of one session with the places that its events have in the whole of
-- it, and how many there are. The verbs: a table of the spans in which it may
-- lie, its key, the conditions, the direction (three times), the limit.
SELECT position, place, total
FROM (
  SELECT *, row_number() OVER (ORDER BY timestamp, sequence, position) AS place, count(*) OVER () AS total
  FROM %s
  WHERE session_key = %d
)
WHERE %s
ORDER BY timestamp %s, sequence %s, position %s
LIMIT %d
