-- What changed in the tables and contracts of datasets, newest first.
-- Parameters dataset: NULL for all; rows: how many.
SELECT
    history.change_id,
    history.changed_at,
    history.dataset,
    history.change,
    history.column_name,
    history.column_type,
    history.origin,
    history.object_id,
    object.object_key,
    history.contract_fingerprint,
    history.details
FROM bronze.schema_history AS history
LEFT JOIN bronze.ingestion_metadata AS object USING (object_id)
WHERE %(dataset)s::text IS NULL OR history.dataset = %(dataset)s
ORDER BY history.change_id DESC
LIMIT %(rows)s
