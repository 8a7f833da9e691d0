-- Quarantined rows that were closed by newer data or passed a replay, long ago.
-- Kept: what a person discarded (another pass would open it again), and orphans, whose parent may still come.
-- Parameter seconds: how old they must be.
SELECT ctid
FROM silver.quarantine AS entry
WHERE status IN ('replayed', 'superseded') AND NOT is_requested
    AND coalesce(closed_at, created_at) < clock_timestamp() - make_interval(secs => %(seconds)s)
    AND NOT EXISTS (
        SELECT FROM silver.orphans AS orphan
        WHERE orphan.object_id = entry.object_id AND orphan.line_number = entry.line_number
    )
