-- The newest samples of what checks found: where the lines are.
-- Parameters tables, checks: arrays of equal length that name the checks.
SELECT
    asked.table_name,
    asked.quality_check,
    newest.details,
    newest.check_timestamp,
    newest.object_id,
    object.object_key
FROM unnest(%(tables)s::text[], %(checks)s::text[]) AS asked (table_name, quality_check)
CROSS JOIN LATERAL (
    SELECT log.details, log.check_timestamp, log.object_id
    FROM silver.data_quality_logs AS log
    WHERE log.table_name = asked.table_name AND log.quality_check = asked.quality_check AND log.records_failed > 0
    ORDER BY log.log_id DESC
    LIMIT 1
) AS newest
LEFT JOIN bronze.ingestion_metadata AS object USING (object_id)
