-- The places of some events in their sessions. The verbs: a table of the spans
-- in which these sessions may lie, the positions of the events. The keys stand
-- for the ids: 64 bits of SHA-256 do not collide by accident, and who makes them
-- collide by design confuses the places of two sessions of his own.
SELECT position, place
FROM (
  SELECT position, row_number() OVER (PARTITION BY session_key ORDER BY timestamp, sequence, position) AS place
  FROM %s
  WHERE session_key IN (SELECT unnest($1::BIGINT[]))
)
WHERE position IN (%s)
