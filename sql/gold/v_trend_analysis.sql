-- name: v_trend_analysis
-- description: Every country's newest day: trend, severity, weekly average and its change against the week before.
-- kind: view
-- grain: country
-- depends on: gold.covid_country_trends
-- made of: gold.covid_country_trends: country = :country AND trend_date = :trend_date
-- columns:
--   country text: the country
--   trend_date date: its newest day
--   confirmed_cases bigint: confirmed up to that day
--   trend_direction text: INCREASING, DECREASING, STABLE or unknown
--   severity_level text: CRITICAL, HIGH, MEDIUM or LOW
--   weekly_avg_cases numeric: mean new cases of its last seven days
--   weekly_avg_cases_before numeric: the same seven days before
--   weekly_avg_change numeric: change between the two, percent; NULL where either is unknown or the former not above 0

-- @select
WITH newest AS (
    SELECT DISTINCT ON (country) *
    FROM gold.covid_country_trends
    ORDER BY country, trend_date DESC
)
SELECT
    newest.country,
    newest.trend_date,
    newest.confirmed_cases,
    newest.trend_direction,
    newest.severity_level,
    newest.weekly_avg_cases,
    week_ago.weekly_avg_cases AS weekly_avg_cases_before,
    CASE WHEN week_ago.weekly_avg_cases > 0 THEN
        round(100 * (newest.weekly_avg_cases - week_ago.weekly_avg_cases) / week_ago.weekly_avg_cases, 4)
    END AS weekly_avg_change
FROM newest
LEFT JOIN gold.covid_country_trends AS week_ago
    ON week_ago.country = newest.country AND week_ago.trend_date = newest.trend_date - 7;
