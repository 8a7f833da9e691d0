-- How far the newest object of each dataset has come: landed, in silver, in gold.
SELECT
    object.dataset,
    object.status,
    object.size_bytes,
    object.source_url,
    extract(epoch FROM coalesce(object.finished_at, clock_timestamp()) - object.started_at)::float8 AS seconds,
    object.rows_read,
    (
        SELECT count(*) FROM silver.quarantine AS bad
        WHERE bad.object_id = object.object_id AND bad.status = 'open'
    ) AS rows_quarantined,
    (SELECT count(DISTINCT line_number) FROM silver.orphans WHERE orphans.object_id = object.object_id) AS rows_waiting,
    object.error_message,
    (SELECT count(*) FROM gold.pending WHERE pending.dataset = object.dataset) AS models_waiting
FROM (
    SELECT DISTINCT ON (dataset) *
    FROM bronze.ingestion_metadata
    WHERE dataset IS NOT NULL
    ORDER BY dataset, version DESC
) AS object
