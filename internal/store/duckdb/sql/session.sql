-- The verbs: the segments that may know the session, the last sealed position.
WITH spans AS (
  SELECT application, first_timestamp, last_timestamp, events
  FROM store.session_spans
  WHERE (%s) AND session_id = $1 AND ($2 = '' OR application = $2)
  UNION ALL
  SELECT application, min(timestamp), max(timestamp), count(*)
  FROM store.events
  WHERE position > %d AND session_id = $1 AND ($2 = '' OR application = $2)
  GROUP BY application
)
SELECT epoch_us(min(first_timestamp)), epoch_us(max(last_timestamp)), sum(events)::BIGINT,
       list_sort(list(DISTINCT application))
FROM spans
HAVING count(*) > 0
