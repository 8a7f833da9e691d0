-- Objects that were announced while the asking worker got no message, and that nobody is at: oldest first. Taking one up
-- that another worker would have come to is harmless, a claim decides.
-- Parameters idle, silence: seconds.
SELECT bucket, object_key, version_id
FROM bronze.ingestion_metadata AS object
WHERE registered_at < clock_timestamp() - make_interval(secs => %(idle)s)
    AND announced_at > clock_timestamp() - make_interval(secs => %(idle)s)
    AND (status IN ('registered', 'processing') OR status = 'failed' AND announced_at > finished_at)
    AND NOT EXISTS (
        SELECT FROM bronze.workers
        WHERE workers.object_id = object.object_id AND stopped_at IS NULL
            AND heartbeat_at > clock_timestamp() - make_interval(secs => %(silence)s)
    )
ORDER BY version
LIMIT 50
