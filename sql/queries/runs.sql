-- The newest passes over objects.
-- Parameters dataset: NULL for all; rows: how many.
SELECT
    run.run_id,
    run.finished_at,
    extract(epoch FROM clock_timestamp() - run.finished_at)::float8 AS age_seconds,
    run.dataset,
    run.kind,
    run.outcome,
    run.rows_read,
    run.rows_inserted,
    run.rows_updated,
    run.rows_unchanged,
    run.rows_deleted,
    run.rows_quarantined,
    run.rows_duplicate,
    run.rows_superseded,
    run.rows_discarded,
    extract(epoch FROM run.finished_at - run.started_at)::float8 AS seconds,
    object.object_key,
    run.object_id,
    run.error_message,
    run.worker_id
FROM bronze.processing_runs AS run
JOIN bronze.ingestion_metadata AS object USING (object_id)
WHERE %(dataset)s::text IS NULL OR run.dataset = %(dataset)s
ORDER BY run.run_id DESC
LIMIT %(rows)s
