-- What became of the objects that were found or finished since a moment, oldest first. Of an object that was gone through
-- more than once since then (its rows waited for others that came), what all passes did together.
-- Parameters since: timestamptz; datasets: text[], NULL for all.
SELECT
    o.dataset,
    o.status,
    o.object_key,
    o.object_id,
    coalesce(passes.rows_read, o.rows_read) AS rows_read,
    coalesce(passes.rows_inserted, o.rows_inserted) AS rows_inserted,
    coalesce(passes.rows_updated, o.rows_updated) AS rows_updated,
    coalesce(passes.rows_unchanged, o.rows_unchanged) AS rows_unchanged,
    coalesce(passes.rows_deleted, o.rows_deleted) AS rows_deleted,
    coalesce(passes.rows_quarantined, o.rows_quarantined) AS rows_quarantined,
    o.data_quality_score,
    o.error_message
FROM bronze.ingestion_metadata AS o
LEFT JOIN LATERAL (
    SELECT
        max(r.rows_read) AS rows_read,
        sum(r.rows_inserted)::bigint AS rows_inserted,
        sum(r.rows_updated)::bigint AS rows_updated,
        min(r.rows_unchanged) AS rows_unchanged,
        sum(r.rows_deleted)::bigint AS rows_deleted,
        (array_agg(r.rows_quarantined ORDER BY r.run_id DESC))[1] AS rows_quarantined
    FROM bronze.processing_runs AS r
    WHERE r.object_id = o.object_id
        AND r.finished_at >= %(since)s
        AND r.outcome IN ('done', 'superseded')
        AND r.kind <> 'replay'
) AS passes ON TRUE
WHERE (o.registered_at >= %(since)s OR o.finished_at >= %(since)s)
    AND (%(datasets)s::text[] IS NULL OR o.dataset = ANY (%(datasets)s::text[]))
ORDER BY o.version
