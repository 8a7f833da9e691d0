-- name: v_pipeline_performance
-- description: What silver did by dataset and day, and how fast.
-- kind: view
-- grain: dataset, day
-- depends on: bronze.processing_runs
-- columns:
--   dataset text: the dataset
--   day date: UTC day on which the passes over its objects ended
--   objects bigint: objects that were worked on
--   rows bigint: records read
--   rows_per_second numeric: records read a second of work
--   median_seconds numeric: median duration of a pass
--   p95_seconds numeric: duration that 95 % of the passes stay within
--   rejected bigint: objects refused as a whole
--   quarantined bigint: rows put aside

-- @select
WITH runs AS (
    SELECT
        *,
        (finished_at AT TIME ZONE 'UTC')::date AS day,
        extract(epoch FROM finished_at - started_at) AS seconds
    FROM bronze.processing_runs
    WHERE dataset IS NOT NULL
)
SELECT
    dataset,
    day,
    count(DISTINCT object_id) AS objects,
    coalesce(sum(rows_read), 0)::bigint AS rows,
    round(coalesce(sum(rows_read), 0) / nullif(sum(seconds), 0), 1) AS rows_per_second,
    round((percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds))::numeric, 3) AS median_seconds,
    round((percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds))::numeric, 3) AS p95_seconds,
    count(DISTINCT object_id) FILTER (WHERE outcome = 'rejected') AS rejected,
    coalesce(sum(rows_quarantined), 0)::bigint AS quarantined
FROM runs
GROUP BY dataset, day;
