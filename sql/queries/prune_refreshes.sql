-- Refreshes of gold's models. Kept: each model's newest, and its newest that changed anything, which its snapshot shows.
-- Parameter seconds: how old they must be.
SELECT ctid
FROM gold.refreshes
WHERE finished_at < clock_timestamp() - make_interval(secs => %(seconds)s) AND announced_at IS NOT NULL
    AND refresh_id NOT IN (
        SELECT DISTINCT ON (model) refresh_id FROM gold.refreshes ORDER BY model, finished_at DESC
    )
    AND refresh_id NOT IN (
        SELECT DISTINCT ON (model) refresh_id FROM gold.refreshes
        WHERE rows_written + rows_deleted > 0 ORDER BY model, finished_at DESC
    )
