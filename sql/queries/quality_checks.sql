-- The rules and audits that found most, by the share of records that broke them.
-- Parameters table: of this clean table only, NULL for all; since: the first day; rows: how many.
SELECT
    table_name,
    quality_check,
    max(kind) AS kind,
    (array_agg(severity ORDER BY day DESC))[1] AS severity,
    sum(results)::bigint AS results,
    sum(results_failed)::bigint AS results_failed,
    sum(records_checked)::bigint AS records_checked,
    sum(records_failed)::bigint AS records_failed,
    round(sum(records_failed) / nullif(sum(records_checked), 0), 6) AS failure_rate,
    max(day) FILTER (WHERE records_failed > 0) AS last_day
FROM silver.quality_days
WHERE day >= %(since)s::date AND kind <> 'expectation' AND (%(table)s::text IS NULL OR table_name = %(table)s)
GROUP BY table_name, quality_check
HAVING sum(records_failed) > 0
ORDER BY failure_rate DESC, records_failed DESC, table_name, quality_check
LIMIT %(rows)s
