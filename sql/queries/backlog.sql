-- What is waiting, for the metrics: unfinished objects by status with the age of the oldest, and what waits for gold.
-- It reads the index of unfinished objects, not the ledger.
SELECT
    status,
    count(*) AS waiting,
    extract(epoch FROM clock_timestamp() - min(registered_at))::float8 AS oldest_seconds
FROM bronze.ingestion_metadata
WHERE status IN ('registered', 'processing', 'held', 'failed')
GROUP BY status
UNION ALL
SELECT
    'gold',
    count(DISTINCT change_set_id),
    extract(epoch FROM clock_timestamp() - min(created_at))::float8
FROM gold.pending
UNION ALL
SELECT
    'dead letters',
    count(*),
    extract(epoch FROM clock_timestamp() - min(created_at))::float8
FROM bronze.dead_letters
WHERE status = 'open'
