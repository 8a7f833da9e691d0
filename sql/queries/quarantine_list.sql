-- Quarantined rows, newest first, with the object they came in.
-- Parameters dataset, rule, object_key: NULL for all; status: 'all' for all; rows: how many.
SELECT
    row.quarantine_id,
    row.dataset,
    row.status,
    row.key,
    row.line_number,
    row.raw,
    row.reasons,
    row.created_at,
    extract(epoch FROM clock_timestamp() - row.created_at)::float8 AS age_seconds,
    object.object_key,
    row.object_id
FROM silver.quarantine AS row
JOIN bronze.ingestion_metadata AS object USING (object_id)
WHERE (%(dataset)s::text IS NULL OR row.dataset = %(dataset)s)
    AND (%(object)s::text IS NULL OR object.object_key LIKE %(object)s OR object.object_id::text = %(object)s)
    AND (%(rule)s::text IS NULL OR row.reasons @> jsonb_build_array(jsonb_build_object('rule', %(rule)s::text)))
    AND (%(status)s = 'all' OR row.status = %(status)s)
ORDER BY row.quarantine_id DESC
LIMIT %(rows)s
