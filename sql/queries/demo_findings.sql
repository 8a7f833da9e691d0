-- What the newest run of each check found, for checks that found anything.
SELECT table_name, quality_check, severity, records_checked, records_failed, coalesce(details ->> 'message', details ->> 'check')
FROM (
    SELECT DISTINCT ON (table_name, quality_check) *
    FROM silver.data_quality_logs
    ORDER BY table_name, quality_check, log_id DESC
) AS newest
WHERE records_failed > 0 AND (kind <> 'expectation' OR NOT passed)
ORDER BY table_name DESC, records_failed DESC
