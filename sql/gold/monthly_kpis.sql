-- name: monthly_kpis
-- description: The world's new cases and deaths by month, with the change against the month before.
-- kind: incremental
-- grain: month
-- depends on: gold.daily_aggregates, silver.clean_covid
-- made of: gold.daily_aggregates: aggregate_date >= :month AND aggregate_date < :month + interval '1 month'
-- scope by: month
-- columns:
--   month date: the first day of the month
--   new_cases bigint: new cases of the month
--   new_deaths bigint: new deaths of the month
--   total_confirmed bigint: confirmed at the end of the month: on its last day that has data
--   total_deaths bigint: deaths at the end of the month
--   peak_day date: the day with most new cases, the first of equals
--   peak_new_cases bigint: new cases of that day
--   new_cases_change numeric: new cases against the month before, percent; NULL where those are unknown or not above 0
--   countries_reporting bigint: countries with a row on any day of the month

-- @scope
-- A day belongs to its month, enters the next day's new cases, and its month is what the next one is compared with.
SELECT DISTINCT (date_trunc('month', record_date + days) + make_interval(months => months))::date AS month
FROM changes_covid
CROSS JOIN generate_series(0, 1) AS days
CROSS JOIN generate_series(0, 1) AS months;

-- @select
SELECT
    scope.month,
    this.new_cases,
    this.new_deaths,
    this.total_confirmed,
    this.total_deaths,
    this.peak_day,
    this.peak_new_cases,
    CASE WHEN before.new_cases > 0 THEN
        round(100 * (this.new_cases - before.new_cases)::numeric / before.new_cases, 4)
    END AS new_cases_change,
    reporting.countries AS countries_reporting
FROM scope
CROSS JOIN LATERAL (
    SELECT
        sum(new_cases)::bigint AS new_cases,
        sum(new_deaths)::bigint AS new_deaths,
        (array_agg(total_confirmed ORDER BY aggregate_date DESC))[1] AS total_confirmed,
        (array_agg(total_deaths ORDER BY aggregate_date DESC))[1] AS total_deaths,
        (array_agg(peak_day ORDER BY peak_new_cases DESC NULLS LAST, peak_day))[1] AS peak_day,
        max(peak_new_cases) AS peak_new_cases
    FROM gold.daily_aggregates
    WHERE aggregate_date >= scope.month AND aggregate_date < scope.month + interval '1 month'
    HAVING count(*) > 0
) AS this
CROSS JOIN LATERAL (
    SELECT sum(new_cases)::bigint AS new_cases
    FROM gold.daily_aggregates
    WHERE aggregate_date >= scope.month - interval '1 month' AND aggregate_date < scope.month
) AS before
JOIN (
    SELECT month, count(*) AS countries
    FROM (
        SELECT DISTINCT scope.month, covid.country
        FROM scope
        CROSS JOIN generate_series(0, 30) AS days
        JOIN silver.clean_covid AS covid ON covid.record_date = scope.month + days
        WHERE covid.record_date < scope.month + interval '1 month'
    ) AS country
    GROUP BY month
) AS reporting ON reporting.month = scope.month;

-- @audit days_add_up: the days' new cases do not add up to the month's
SELECT monthly_kpis.month, monthly_kpis.new_cases, sum(day.new_cases) AS new_cases_of_days
FROM scope
JOIN gold.monthly_kpis USING (month)
JOIN gold.daily_aggregates AS day
    ON day.aggregate_date >= monthly_kpis.month AND day.aggregate_date < monthly_kpis.month + interval '1 month'
GROUP BY monthly_kpis.month, monthly_kpis.new_cases
HAVING monthly_kpis.new_cases IS DISTINCT FROM sum(day.new_cases);
