-- The verbs: the first minute and the one behind the last, in microseconds, twice.
SELECT epoch_us(minute), application, category, name,
       sum(received)::BIGINT, sum(stored)::BIGINT, sum(duplicate)::BIGINT, sum(quarantined)::BIGINT, sum(discarded)::BIGINT
FROM (
  FROM store.ledger WHERE minute >= make_timestamp(%d) AND minute < make_timestamp(%d)
  UNION ALL
  FROM store.ledger_changes WHERE minute >= make_timestamp(%d) AND minute < make_timestamp(%d)
)
GROUP BY minute, application, category, name
ORDER BY minute, application, category, name
