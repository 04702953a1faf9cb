-- The verbs: the first and the last position, twice.
SELECT position, 'duplicate' FROM store.duplicates WHERE position BETWEEN %d AND %d
UNION ALL
SELECT position, 'quarantined' FROM store.quarantine WHERE position BETWEEN %d AND %d
ORDER BY position
