-- Alerts that are over.
-- Parameter seconds: for how long they must be.
SELECT ctid
FROM bronze.alerts
WHERE closed_at < clock_timestamp() - make_interval(secs => %(seconds)s)
