-- The verbs: a table of spans, a condition on session_id, the conditions on the
-- summary, the limit.
SELECT session_id, epoch_us(min(first_timestamp)) AS first, epoch_us(max(last_timestamp)), sum(events)::BIGINT,
       list_sort(list(DISTINCT application))
FROM (
%s)
WHERE %s
GROUP BY session_id
HAVING %s
ORDER BY first DESC, session_id
LIMIT %d
