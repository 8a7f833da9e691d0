-- name: daily_aggregates
-- description: The world's new cases and deaths by day, with the change against the day before.
-- kind: incremental
-- grain: aggregate_date
-- depends on: gold.covid_global_summary
-- made of: gold.covid_global_summary: summary_date = :aggregate_date
-- scope by: aggregate_date
-- columns:
--   aggregate_date date: the day
--   new_cases bigint: new cases that day
--   new_deaths bigint: new deaths that day
--   total_confirmed bigint: confirmed at the day's end
--   total_deaths bigint: deaths at the day's end
--   peak_day date: the day with most new cases in the period: this day, NULL where they are unknown
--   peak_new_cases bigint: new cases of that day
--   new_cases_change numeric: new cases against the day before, percent; NULL where those are unknown or not above 0
--   countries_reporting bigint: countries with a row that day

-- @scope
-- A day is also what the next day is compared with.
SELECT DISTINCT record_date + days AS aggregate_date
FROM changes_covid
CROSS JOIN generate_series(0, 1) AS days;

-- @select
SELECT
    today.summary_date AS aggregate_date,
    today.daily_new_cases AS new_cases,
    today.daily_new_deaths AS new_deaths,
    today.total_confirmed,
    today.total_deaths,
    CASE WHEN today.daily_new_cases IS NOT NULL THEN today.summary_date END AS peak_day,
    today.daily_new_cases AS peak_new_cases,
    CASE WHEN before.daily_new_cases > 0 THEN
        round(100 * (today.daily_new_cases - before.daily_new_cases)::numeric / before.daily_new_cases, 4)
    END AS new_cases_change,
    today.total_countries AS countries_reporting
FROM scope
JOIN gold.covid_global_summary AS today ON today.summary_date = scope.aggregate_date
LEFT JOIN gold.covid_global_summary AS before ON before.summary_date = today.summary_date - 1;

-- @audit every_country_still_reports: fewer countries have a row than the day before
SELECT today.aggregate_date, before.countries_reporting AS countries_before, today.countries_reporting
FROM scope
JOIN gold.daily_aggregates AS today USING (aggregate_date)
JOIN gold.daily_aggregates AS before ON before.aggregate_date = today.aggregate_date - 1
WHERE today.countries_reporting < before.countries_reporting;
