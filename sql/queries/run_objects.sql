-- What became of the objects that were found or finished since a moment, oldest first.
-- Parameters since: timestamptz; datasets: text[], NULL for all.
SELECT
    dataset,
    status,
    object_key,
    object_id,
    rows_read,
    rows_inserted,
    rows_updated,
    rows_unchanged,
    rows_deleted,
    rows_quarantined,
    data_quality_score,
    error_message
FROM bronze.ingestion_metadata
WHERE (registered_at >= %(since)s OR finished_at >= %(since)s)
    AND (%(datasets)s::text[] IS NULL OR dataset = ANY (%(datasets)s::text[]))
ORDER BY version
