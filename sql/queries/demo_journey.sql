-- When an object reached each step on its way to gold; what is still to come is NULL.
-- Parameters object_key, version_id.
SELECT
    object.object_id,
    object.status,
    object.error_message,
    object.rows_updated,
    object.rows_quarantined,
    object.registered_at,
    object.started_at,
    object.finished_at,
    change.announced_at,
    tables.refreshed_at AS tables_at,
    tables.models AS table_models,
    views.refreshed_at AS views_at,
    views.models AS view_models,
    NOT EXISTS (SELECT FROM gold.pending WHERE pending.change_set_id = change.change_set_id) AS is_settled
FROM bronze.ingestion_metadata AS object
LEFT JOIN silver.change_sets AS change USING (object_id)
LEFT JOIN LATERAL (
    SELECT max(finished_at) AS refreshed_at, count(*) AS models
    FROM gold.refreshes
    WHERE change_sets @> ARRAY[change.change_set_id] AND model NOT LIKE 'mv\_%%'
) AS tables ON true
LEFT JOIN LATERAL (
    SELECT max(finished_at) AS refreshed_at, count(*) AS models
    FROM gold.refreshes
    WHERE change_sets @> ARRAY[change.change_set_id] AND model LIKE 'mv\_%%'
) AS views ON true
WHERE object.object_key = %(object_key)s AND object.version_id = %(version_id)s
