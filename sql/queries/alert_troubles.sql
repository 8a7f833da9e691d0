-- What is wrong now, for the alerts: kind, which of its kind, dataset, severity, what to tell.
-- A rejected file is no trouble any more once a newer one of its dataset took effect.
-- Parameter silence: seconds without a heartbeat after which a worker counts as silent.
WITH rejecting AS (
    SELECT known.dataset, newest.version
    FROM (SELECT DISTINCT dataset FROM bronze.ingestion_metadata WHERE status = 'rejected') AS known
    LEFT JOIN LATERAL (
        SELECT version
        FROM bronze.ingestion_metadata AS done
        WHERE done.dataset = known.dataset AND done.status = 'done'
        ORDER BY version DESC
        LIMIT 1
    ) AS newest ON true
)
SELECT 'expectation' AS kind, dataset || ' ' || quality_check AS subject, dataset, severity,
    dataset || ' ' || quality_check || ': ' || message AS message
FROM silver.expectations
WHERE NOT passed
UNION ALL
SELECT 'rejected', object.object_id::text, object.dataset, 'error', object.object_key || ': ' || coalesce(left(object.error_message, 400), '')
FROM rejecting
JOIN bronze.ingestion_metadata AS object USING (dataset)
WHERE object.status = 'rejected' AND (rejecting.version IS NULL OR object.version > rejecting.version)
UNION ALL
SELECT status, object_id::text, dataset, CASE status WHEN 'held' THEN 'warn' ELSE 'error' END,
    object_key || ': ' || coalesce(left(error_message, 400), '')
FROM bronze.ingestion_metadata
WHERE status IN ('held', 'failed')
UNION ALL
SELECT 'dead_letter', dead_letter_id::text, dataset, 'error', 'dead letter ' || dead_letter_id || ' on ' || topic || ': ' || left(reason, 400)
FROM bronze.dead_letters
WHERE status = 'open'
UNION ALL
SELECT 'stopped', stop.worker_id, NULL, 'error',
    stop.service || ' (' || worker.pid || ' on ' || worker.host || '): ' || stop.reason
    || '; mend the deployment, then `medallion dead-letters resume`'
FROM bronze.stops AS stop
JOIN bronze.workers AS worker USING (worker_id)
WHERE stop.resumed_at IS NULL AND worker.stopped_at IS NULL
    AND worker.heartbeat_at > clock_timestamp() - make_interval(secs => %(silence)s)
UNION ALL
-- One that another of its service has taken the place of is no news, and neither is one from days ago.
SELECT 'stalled', worker.worker_id, NULL, 'error',
    worker.service || ' (' || worker.pid || ' on ' || worker.host || ') has been silent since '
    || to_char(worker.heartbeat_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'
FROM bronze.workers AS worker
WHERE worker.stopped_at IS NULL
    AND worker.heartbeat_at < clock_timestamp() - make_interval(secs => %(silence)s)
    AND worker.heartbeat_at > clock_timestamp() - interval '1 day'
    AND NOT EXISTS (
        SELECT FROM bronze.workers AS later
        WHERE later.service = worker.service AND later.worker_id <> worker.worker_id
            AND later.started_at > worker.heartbeat_at AND later.stopped_at IS NULL
    )
