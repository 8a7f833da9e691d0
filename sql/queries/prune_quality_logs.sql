-- Results of rules and audits. Kept: the newest of each check, and those of the snapshots that silver shows, which a
-- repeated snapshot takes over without being read.
-- Parameter seconds: how old they must be.
SELECT ctid
FROM silver.data_quality_logs AS log
WHERE check_timestamp < clock_timestamp() - make_interval(secs => %(seconds)s)
    AND NOT EXISTS (SELECT FROM silver.datasets AS known WHERE known.snapshot_object_id = log.object_id)
    AND log_id NOT IN (SELECT max(log_id) FROM silver.data_quality_logs GROUP BY table_name, quality_check)
