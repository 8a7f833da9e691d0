-- The unfinished objects and the models that lag behind, by name, oldest first.
-- Parameters datasets: text[], NULL for all; rows: how many.
SELECT status, dataset, item, attempts, reason
FROM (
    SELECT status, dataset, object_key AS item, attempts, error_message AS reason, registered_at AS since
    FROM bronze.ingestion_metadata
    WHERE status IN ('registered', 'processing', 'held', 'failed')
        AND (%(datasets)s::text[] IS NULL OR dataset = ANY (%(datasets)s::text[]))
    UNION ALL
    SELECT 'gold', dataset, model, count(*), NULL, min(created_at)
    FROM gold.pending
    WHERE %(datasets)s::text[] IS NULL OR dataset = ANY (%(datasets)s::text[])
    GROUP BY dataset, model
) AS unfinished
ORDER BY since
LIMIT %(rows)s
