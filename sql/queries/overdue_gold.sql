-- How many change sets gold should long have taken in, were announced while the asking worker was idle, and are at a
-- standstill: no worker holds the model's lock, and no dead letter says why. Views wait for no event.
-- Parameters after, idle: seconds; tables: text[], the models that are tables.
SELECT count(DISTINCT pending.change_set_id)
FROM gold.pending
JOIN silver.change_sets USING (change_set_id)
WHERE pending.model = ANY (%(tables)s::text[])
    AND pending.created_at < clock_timestamp() - make_interval(secs => %(after)s)
    AND change_sets.announced_at > clock_timestamp() - make_interval(secs => %(idle)s)
    AND NOT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1 AND granted
            AND ((classid::bigint << 32) | objid::bigint) = hashtextextended('gold.' || pending.model, 0)
    )
    AND NOT EXISTS (
        SELECT FROM gold.refreshes
        WHERE refreshes.model = pending.model
            AND refreshes.finished_at > clock_timestamp() - make_interval(secs => %(after)s)
    )
    AND NOT EXISTS (
        SELECT FROM bronze.dead_letters
        WHERE dead_letters.topic = 'silver-ready' AND dead_letters.status = 'open'
            AND dead_letters.dataset = pending.dataset
    )
