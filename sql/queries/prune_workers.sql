-- Workers that stopped, or fell silent.
-- Parameter seconds: how long ago they must have.
SELECT ctid
FROM bronze.workers
WHERE coalesce(stopped_at, heartbeat_at) < clock_timestamp() - make_interval(secs => %(seconds)s)
