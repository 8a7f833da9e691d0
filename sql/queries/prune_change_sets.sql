-- Change sets that gold has taken in, and that were announced and exported.
-- Parameter seconds: how old they must be.
SELECT ctid
FROM silver.change_sets AS change
WHERE created_at < clock_timestamp() - make_interval(secs => %(seconds)s)
    AND announced_at IS NOT NULL AND exported_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM gold.pending AS pending WHERE pending.change_set_id = change.change_set_id)
