-- One quarantined row whole, with the object it came in. Parameter id.
SELECT
    row.quarantine_id,
    row.dataset,
    row.status,
    row.is_requested,
    row.key,
    row.line_number,
    row.raw,
    row.reasons,
    row.created_at,
    row.closed_at,
    row.object_id,
    object.object_key,
    object.version_id,
    object.landed_at,
    object.source_url
FROM silver.quarantine AS row
JOIN bronze.ingestion_metadata AS object USING (object_id)
WHERE row.quarantine_id = %(id)s
