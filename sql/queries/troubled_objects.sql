-- The newest objects that did not take effect, with the reason.
-- Parameters since: seconds to look back for finished ones, held and failed ones are shown whatever their age; rows.
SELECT
    status,
    dataset,
    object_key,
    object_id,
    error_message,
    extract(epoch FROM clock_timestamp() - coalesce(finished_at, registered_at))::float8 AS age_seconds
FROM bronze.ingestion_metadata
WHERE status IN ('held', 'failed')
    OR (status IN ('rejected', 'ignored') AND finished_at > clock_timestamp() - make_interval(secs => %(since)s))
ORDER BY status IN ('held', 'failed') DESC, registered_at DESC
LIMIT %(rows)s
