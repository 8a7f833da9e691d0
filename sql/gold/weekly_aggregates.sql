-- name: weekly_aggregates
-- description: The world's new cases and deaths by week, with the change against the week before.
-- kind: incremental
-- grain: week_start
-- depends on: gold.daily_aggregates, silver.clean_covid
-- made of: gold.daily_aggregates: aggregate_date >= :week_start AND aggregate_date < :week_start + 7
-- scope by: week_start
-- columns:
--   week_start date: the Monday on which the ISO week starts
--   new_cases bigint: new cases of the week
--   new_deaths bigint: new deaths of the week
--   total_confirmed bigint: confirmed at the end of the week: on its last day that has data
--   total_deaths bigint: deaths at the end of the week
--   peak_day date: the day with most new cases, the first of equals
--   peak_new_cases bigint: new cases of that day
--   new_cases_change numeric: new cases against the week before, percent; NULL where those are unknown or not above 0
--   countries_reporting bigint: countries with a row on any day of the week

-- @scope
-- A day belongs to its week, enters the next day's new cases, and its week is what the next one is compared with.
SELECT DISTINCT date_trunc('week', record_date + days)::date + 7 * weeks AS week_start
FROM changes_covid
CROSS JOIN generate_series(0, 1) AS days
CROSS JOIN generate_series(0, 1) AS weeks;

-- @select
SELECT
    scope.week_start,
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
    WHERE aggregate_date >= scope.week_start AND aggregate_date < scope.week_start + 7
    HAVING count(*) > 0
) AS this
CROSS JOIN LATERAL (
    SELECT sum(new_cases)::bigint AS new_cases
    FROM gold.daily_aggregates
    WHERE aggregate_date >= scope.week_start - 7 AND aggregate_date < scope.week_start
) AS before
JOIN (
    SELECT week_start, count(*) AS countries
    FROM (
        SELECT DISTINCT scope.week_start, covid.country
        FROM scope
        CROSS JOIN generate_series(0, 6) AS days
        JOIN silver.clean_covid AS covid ON covid.record_date = scope.week_start + days
    ) AS country
    GROUP BY week_start
) AS reporting ON reporting.week_start = scope.week_start;

-- @audit days_add_up: the days' new cases do not add up to the week's
SELECT weekly_aggregates.week_start, weekly_aggregates.new_cases, sum(day.new_cases) AS new_cases_of_days
FROM scope
JOIN gold.weekly_aggregates USING (week_start)
JOIN gold.daily_aggregates AS day
    ON day.aggregate_date >= weekly_aggregates.week_start AND day.aggregate_date < weekly_aggregates.week_start + 7
GROUP BY weekly_aggregates.week_start, weekly_aggregates.new_cases
HAVING weekly_aggregates.new_cases IS DISTINCT FROM sum(day.new_cases);
