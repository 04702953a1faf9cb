-- Sums up the changes of all minutes but the newest, which is still changing.
-- A change that comes later for such a minute becomes one more row of it.
INSERT INTO store.ledger
SELECT minute, application, category, name,
       sum(received)::BIGINT, sum(stored)::BIGINT, sum(duplicate)::BIGINT, sum(quarantined)::BIGINT, sum(discarded)::BIGINT
FROM store.ledger_changes
WHERE minute < (SELECT max(minute) FROM store.ledger_changes)
GROUP BY minute, application, category, name;

DELETE FROM store.ledger_changes
WHERE minute < (SELECT max(minute) FROM store.ledger_changes);
