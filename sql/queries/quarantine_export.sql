-- Quarantined rows of a dataset in the order they came, a page at a time, with the header of their file.
-- Parameters dataset; rule, object: NULL for all; status: 'all' for all; after: the last id seen; rows: how many.
SELECT
    row.quarantine_id,
    object.object_key,
    row.line_number,
    row.reasons,
    row.raw,
    object.file_header
FROM silver.quarantine AS row
JOIN bronze.ingestion_metadata AS object USING (object_id)
WHERE row.dataset = %(dataset)s
    AND row.quarantine_id > %(after)s
    AND (%(object)s::text IS NULL OR object.object_key LIKE %(object)s OR object.object_id::text = %(object)s)
    AND (%(rule)s::text IS NULL OR row.reasons @> jsonb_build_array(jsonb_build_object('rule', %(rule)s::text)))
    AND (%(status)s = 'all' OR row.status = %(status)s)
ORDER BY row.quarantine_id
LIMIT %(rows)s
