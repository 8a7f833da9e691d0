-- Workers that run and stand still until somebody says to go on.
-- Parameter silence: seconds without a heartbeat after which a worker counts as gone.
SELECT
    stop.service,
    worker.host,
    worker.pid,
    stop.worker_id,
    stop.reason,
    stop.stopped_at,
    extract(epoch FROM clock_timestamp() - stop.stopped_at)::float8 AS age_seconds
FROM bronze.stops AS stop
JOIN bronze.workers AS worker USING (worker_id)
WHERE stop.resumed_at IS NULL
    AND worker.stopped_at IS NULL
    AND worker.heartbeat_at > clock_timestamp() - make_interval(secs => %(silence)s)
ORDER BY stop.stopped_at
