-- The oldest change set that was announced while the asking worker got no message and that gold has not taken in; one
-- suffices, for a worker takes in everything that is pending. What no dead letter explains, that is.
-- Parameters idle: seconds; tables: text[], the models that are tables.
SELECT pending.dataset, change_set_id::text, change_sets.object_id::text
FROM gold.pending
JOIN silver.change_sets USING (change_set_id)
WHERE pending.model = ANY (%(tables)s::text[])
    AND pending.created_at < clock_timestamp() - make_interval(secs => %(idle)s)
    AND change_sets.announced_at > clock_timestamp() - make_interval(secs => %(idle)s)
    AND NOT EXISTS (
        SELECT FROM bronze.dead_letters
        WHERE dead_letters.topic = 'silver-ready' AND dead_letters.status = 'open'
            AND dead_letters.dataset = pending.dataset
    )
ORDER BY pending.created_at
LIMIT 1
