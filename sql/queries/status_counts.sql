-- The backlog and what people should look at, as single figures.
SELECT
    (SELECT count(DISTINCT change_set_id) FROM gold.pending) AS gold_pending,
    (SELECT count(*) FROM silver.quarantine WHERE status = 'open') AS quarantine_open,
    (SELECT count(*) FROM bronze.dead_letters WHERE status = 'open') AS dead_letters,
    (
        SELECT extract(epoch FROM clock_timestamp() - min(registered_at))::float8
        FROM bronze.ingestion_metadata
        WHERE status IN ('registered', 'processing')
    ) AS oldest_unfinished_seconds
