-- The oldest object that has waited a second for a worker which is at another one: an idle worker may take it up. No attempt at
-- it counts; what comes of meeting at it, a claim decides. Parameters worker: who asks; silence: seconds.
SELECT bucket, object_key, version_id
FROM bronze.ingestion_metadata AS object
WHERE status = 'registered' AND attempts = 0 AND announced_at < clock_timestamp() - interval '1 second'
    AND EXISTS (
        SELECT FROM bronze.workers
        WHERE service = 'silver' AND worker_id <> %(worker)s AND object_id IS NOT NULL AND stopped_at IS NULL
            AND heartbeat_at > clock_timestamp() - make_interval(secs => %(silence)s)
    )
ORDER BY version
LIMIT 1
