-- What is waiting, for the metrics: unfinished objects by status with the age of the oldest, what waits for gold, what fails.
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
UNION ALL
SELECT
    'expectations',
    count(*),
    extract(epoch FROM clock_timestamp() - min(failing_since))::float8
FROM silver.expectations
WHERE NOT passed
UNION ALL
SELECT
    'alerts',
    count(*),
    extract(epoch FROM clock_timestamp() - min(opened_at))::float8
FROM bronze.alerts
WHERE closed_at IS NULL
