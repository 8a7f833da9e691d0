-- name: covid_global_summary
-- description: The world by day: totals, rates, new cases and deaths, the countries with most and fewest cases.
-- kind: incremental
-- grain: summary_date
-- depends on: silver.clean_covid
-- made of: silver.clean_covid: record_date = :summary_date
-- scope by: summary_date
-- context: is_context
-- columns:
--   summary_date date: the day
--   total_countries bigint: countries with a row that day
--   total_confirmed bigint: confirmed up to that day
--   total_deaths bigint: deaths up to that day
--   total_recovered bigint: recoveries up to that day, over the series that report them
--   global_mortality_rate numeric: deaths as percent of confirmed
--   global_recovery_rate numeric: recovered as percent of confirmed, of the series that report recoveries
--   top_5_countries jsonb: [{country, confirmed}, …], most confirmed first, ties by country
--   bottom_5_countries jsonb: [{country, confirmed}, …], fewest confirmed first, ties by country
--   daily_new_cases bigint: new cases that day, over the series where they are known
--   daily_new_deaths bigint: new deaths that day
--   week_over_week_change numeric: confirmed against seven days before, percent
--   data_quality_score numeric: mean score of the day's rows

-- @scope
-- A day's total is also what the day a week later is compared with; the day a week before is read for that.
SELECT record_date + reach.days AS summary_date, bool_and(reach.is_context) AS is_context
FROM changes_covid
CROSS JOIN (VALUES (-7, true), (0, false), (7, false)) AS reach (days, is_context)
GROUP BY record_date + reach.days;

-- @select
WITH by_country AS (
    SELECT
        covid.record_date,
        covid.country,
        scope.is_context,
        count(*) AS series,
        sum(covid.confirmed) AS confirmed,
        sum(covid.deaths) AS deaths,
        sum(covid.recovered) AS recovered,
        sum(covid.confirmed) FILTER (WHERE covid.recovered IS NOT NULL) AS confirmed_where_recovered,
        sum(covid.daily_new_cases) AS new_cases,
        sum(covid.daily_new_deaths) AS new_deaths,
        sum(covid.data_quality_score) AS score
    FROM scope
    JOIN silver.clean_covid AS covid ON covid.record_date = scope.summary_date
    GROUP BY covid.record_date, covid.country, scope.is_context
),
world AS (
    SELECT
        record_date,
        is_context,
        count(*) AS countries,
        sum(confirmed) AS confirmed,
        sum(deaths) AS deaths,
        sum(recovered) AS recovered,
        sum(confirmed_where_recovered) AS confirmed_where_recovered,
        sum(new_cases) AS new_cases,
        sum(new_deaths) AS new_deaths,
        sum(score) / sum(series) AS score
    FROM by_country
    GROUP BY record_date, is_context
),
ranked AS (
    SELECT
        record_date,
        country,
        confirmed::bigint AS confirmed,
        row_number() OVER (PARTITION BY record_date ORDER BY confirmed DESC, country) AS from_top,
        row_number() OVER (PARTITION BY record_date ORDER BY confirmed, country) AS from_bottom
    FROM by_country
    WHERE confirmed IS NOT NULL AND NOT is_context
),
extremes AS (
    SELECT
        record_date,
        jsonb_agg(jsonb_build_object('country', country, 'confirmed', confirmed) ORDER BY from_top)
            FILTER (WHERE from_top <= 5) AS top,
        jsonb_agg(jsonb_build_object('country', country, 'confirmed', confirmed) ORDER BY from_bottom)
            FILTER (WHERE from_bottom <= 5) AS bottom
    FROM ranked
    WHERE from_top <= 5 OR from_bottom <= 5
    GROUP BY record_date
)
SELECT
    today.record_date AS summary_date,
    today.countries AS total_countries,
    today.confirmed::bigint AS total_confirmed,
    today.deaths::bigint AS total_deaths,
    today.recovered::bigint AS total_recovered,
    round(100 * today.deaths / nullif(today.confirmed, 0), 4) AS global_mortality_rate,
    round(100 * today.recovered / nullif(today.confirmed_where_recovered, 0), 4) AS global_recovery_rate,
    coalesce(extremes.top, '[]') AS top_5_countries,
    coalesce(extremes.bottom, '[]') AS bottom_5_countries,
    today.new_cases::bigint AS daily_new_cases,
    today.new_deaths::bigint AS daily_new_deaths,
    round(100 * (today.confirmed - week_ago.confirmed) / nullif(week_ago.confirmed, 0), 4) AS week_over_week_change,
    round(today.score, 4) AS data_quality_score
FROM world AS today
LEFT JOIN world AS week_ago ON week_ago.record_date = today.record_date - 7
LEFT JOIN extremes ON extremes.record_date = today.record_date
WHERE NOT today.is_context;

-- @audit recovered_does_not_collapse: the world's recoveries fell by more than half from one day to the next
SELECT today.summary_date, before.total_recovered AS recovered_before, today.total_recovered
FROM scope
JOIN gold.covid_global_summary AS today USING (summary_date)
JOIN gold.covid_global_summary AS before ON before.summary_date = today.summary_date - 1
WHERE 2 * today.total_recovered < before.total_recovered;
