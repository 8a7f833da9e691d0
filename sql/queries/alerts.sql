-- Alerts, open ones first, then what was over lately.
-- Parameters since: seconds to look back for those that are over; rows: how many.
SELECT
    kind,
    dataset,
    severity,
    message,
    opened_at,
    told_at,
    closed_at,
    extract(epoch FROM clock_timestamp() - opened_at)::float8 AS age_seconds
FROM bronze.alerts
WHERE closed_at IS NULL OR closed_at > clock_timestamp() - make_interval(secs => %(since)s)
ORDER BY closed_at IS NOT NULL, alert_id DESC
LIMIT %(rows)s
