-- Dead letters that were replayed.
-- Parameter seconds: how old they must be.
SELECT ctid
FROM bronze.dead_letters
WHERE status = 'replayed' AND created_at < clock_timestamp() - make_interval(secs => %(seconds)s)
