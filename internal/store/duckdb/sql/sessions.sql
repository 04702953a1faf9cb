-- The verbs: the last sealed position (twice), a condition on application
-- (twice), a condition on session_id, and the conditions on the summary.
WITH spans AS (
  SELECT session_id, application, first_timestamp, last_timestamp, events
  FROM store.session_spans
  WHERE segment <= %d AND %s
  UNION ALL
  SELECT session_id, application, min(timestamp), max(timestamp), count(*)
  FROM store.events
  WHERE position > %d AND %s
  GROUP BY session_id, application
)
SELECT session_id, epoch_us(min(first_timestamp)) AS first, epoch_us(max(last_timestamp)) AS last,
       sum(events)::BIGINT, list_sort(list(DISTINCT application))
FROM spans
WHERE %s
GROUP BY session_id
HAVING %s
ORDER BY first DESC, session_id
LIMIT %d
