-- name: mv_daily_covid_summary
-- description: The world's totals by day, with the mean of the series' mortality rates.
-- kind: materialized_view
-- grain: record_date
-- depends on: silver.clean_covid
-- made of: silver.clean_covid: record_date = :record_date
-- columns:
--   record_date date: the day
--   countries bigint: countries with a row that day
--   total_confirmed bigint: confirmed up to that day
--   total_deaths bigint: deaths up to that day
--   total_recovered bigint: recoveries up to that day, over the series that report them
--   avg_mortality_rate numeric: mean of the series' mortality rates, percent

-- @select
SELECT
    record_date,
    count(DISTINCT country) AS countries,
    sum(confirmed)::bigint AS total_confirmed,
    sum(deaths)::bigint AS total_deaths,
    sum(recovered)::bigint AS total_recovered,
    round(avg(mortality_rate), 4) AS avg_mortality_rate
FROM silver.clean_covid
GROUP BY record_date;
