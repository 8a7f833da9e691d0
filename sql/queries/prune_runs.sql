-- Passes over objects that came to their end long ago; the ledger keeps each object's own counts.
-- Parameter seconds: how old they must be.
SELECT ctid
FROM bronze.processing_runs
WHERE finished_at < clock_timestamp() - make_interval(secs => %(seconds)s)
