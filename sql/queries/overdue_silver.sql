-- How many objects should long be processed, were announced while the asking worker was idle, and are at a standstill:
-- no silver worker is at one or stopped, and none has finished one lately. What the ingestor did not announce is not silver's fault.
-- Parameters after, idle, silence: seconds.
SELECT count(*)
FROM bronze.ingestion_metadata
WHERE status = 'registered'
    AND registered_at < clock_timestamp() - make_interval(secs => %(after)s)
    AND announced_at > clock_timestamp() - make_interval(secs => %(idle)s)
    AND NOT EXISTS (
        SELECT FROM bronze.workers
        WHERE service = 'silver' AND object_id IS NOT NULL AND stopped_at IS NULL
            AND heartbeat_at > clock_timestamp() - make_interval(secs => %(silence)s)
    )
    AND NOT EXISTS (
        SELECT FROM bronze.stops
        JOIN bronze.workers USING (worker_id)
        WHERE stops.service = 'silver' AND stops.resumed_at IS NULL AND workers.stopped_at IS NULL
            AND workers.heartbeat_at > clock_timestamp() - make_interval(secs => %(silence)s)
    )
    AND NOT EXISTS (
        SELECT FROM bronze.processing_runs WHERE finished_at > clock_timestamp() - make_interval(secs => %(after)s)
    )
