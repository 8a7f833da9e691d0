-- How long ago each dataset landed anything, and how long ago a poll found its source unchanged, in hours.
SELECT
    state.dataset,
    extract(epoch FROM clock_timestamp() - state.newest_landed_at)::float8 / 3600 AS landed_hours,
    extract(epoch FROM clock_timestamp() - poll.finished_at)::float8 / 3600 AS unchanged_hours
FROM silver.datasets AS state
LEFT JOIN LATERAL (
    SELECT finished_at
    FROM bronze.polls
    WHERE polls.dataset = state.dataset AND outcome = 'unchanged'
    ORDER BY poll_id DESC
    LIMIT 1
) AS poll ON true
WHERE state.newest_landed_at IS NOT NULL
