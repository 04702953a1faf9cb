-- The places of some events in their sessions. The verbs: a table of the spans
-- in which these sessions may lie, the positions of the events.
SELECT position, place
FROM (
  SELECT position, row_number() OVER (PARTITION BY session_id ORDER BY timestamp, sequence, position) AS place
  FROM %s
  WHERE session_id IN (SELECT unnest($1::VARCHAR[]))
)
WHERE position IN (%s)
