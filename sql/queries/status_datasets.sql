-- Every dataset that has tables: what it holds, what was landed last, when its source was last asked.
SELECT
    known.dataset,
    coalesce(state.rows_live, 0) AS rows_live,
    state.newest_landed_at,
    extract(epoch FROM clock_timestamp() - state.newest_landed_at)::float8 AS landed_age_seconds,
    object.status AS last_status,
    object.object_key AS last_object,
    object.data_quality_score AS last_score,
    poll.outcome AS last_poll,
    extract(epoch FROM clock_timestamp() - poll.finished_at)::float8 AS poll_age_seconds,
    poll.error_message AS poll_error,
    coalesce(quarantined.rows_open, 0) AS quarantine_open
FROM (
    SELECT substr(relname, length('clean_') + 1) AS dataset
    FROM pg_class
    WHERE relnamespace = 'silver'::regnamespace AND relname LIKE 'clean\_%%'
        AND relkind IN ('r', 'p') AND NOT relispartition
) AS known
LEFT JOIN silver.datasets AS state USING (dataset)
LEFT JOIN LATERAL (
    SELECT status, object_key, data_quality_score
    FROM bronze.ingestion_metadata
    WHERE ingestion_metadata.dataset = known.dataset
    ORDER BY version DESC
    LIMIT 1
) AS object ON true
LEFT JOIN LATERAL (
    SELECT outcome, finished_at, error_message
    FROM bronze.polls
    WHERE polls.dataset = known.dataset
    ORDER BY poll_id DESC
    LIMIT 1
) AS poll ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS rows_open
    FROM silver.quarantine
    WHERE quarantine.dataset = known.dataset AND status = 'open'
) AS quarantined ON true
ORDER BY known.dataset
