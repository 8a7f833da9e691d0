-- The workers that run, or ended without saying so: a dead one is shown for an hour.
-- Parameter silence: seconds without a heartbeat after which a worker counts as silent.
SELECT
    worker.service,
    worker.host,
    worker.pid,
    extract(epoch FROM clock_timestamp() - worker.heartbeat_at)::float8 AS heartbeat_age_seconds,
    extract(epoch FROM clock_timestamp() - worker.started_at)::float8 AS age_seconds,
    clock_timestamp() - worker.heartbeat_at < make_interval(secs => %(silence)s) AS is_alive,
    object.dataset AS working_on_dataset,
    object.object_key AS working_on
FROM bronze.workers AS worker
LEFT JOIN bronze.ingestion_metadata AS object USING (object_id)
WHERE worker.stopped_at IS NULL AND worker.heartbeat_at > clock_timestamp() - interval '1 hour'
    -- One that was started again in the place of a dead one is news; the dead one is not.
    AND NOT EXISTS (
        SELECT FROM bronze.workers AS later
        WHERE later.service = worker.service AND later.host = worker.host
            AND later.started_at > worker.heartbeat_at AND later.stopped_at IS NULL
    )
ORDER BY worker.service, worker.started_at
