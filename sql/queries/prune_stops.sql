-- Stops of workers that somebody lifted.
-- Parameter seconds: how old they must be.
SELECT ctid
FROM bronze.stops
WHERE resumed_at < clock_timestamp() - make_interval(secs => %(seconds)s)
