-- name: covid_country_trends
-- description: Every country's cases, deaths and recoveries by day, with their trend over two weeks.
-- kind: incremental
-- grain: country, trend_date
-- depends on: silver.clean_covid
-- made of: silver.clean_covid: country = :country AND record_date = :trend_date
-- scope by: country, trend_date
-- context: is_context
-- columns:
--   country text: the country as its publisher writes it
--   trend_date date: the day
--   confirmed_cases bigint: confirmed up to that day, over the country's series
--   deaths bigint: deaths up to that day
--   recovered bigint: recoveries up to that day, over the series that report them; NULL where none does
--   active_cases bigint: confirmed less deaths and recovered, over the series that report recoveries
--   mortality_rate numeric: deaths as percent of confirmed
--   recovery_rate numeric: recovered as percent of confirmed, of the series that report recoveries
--   daily_new_cases bigint: new cases that day, over the series where they are known
--   daily_new_deaths bigint: new deaths that day
--   weekly_avg_cases numeric: mean new cases of the last seven days; NULL unless all seven are known
--   trend_direction text: INCREASING, DECREASING or STABLE: the last seven days against the seven before
--   severity_level text: CRITICAL over 1,000,000 confirmed, HIGH over 100,000, MEDIUM over 10,000, else LOW

-- @scope
-- A day's new cases enter the trend of that day and the 13 after it; the 13 days before are read for the first of them.
-- Spans that touch are one, so that no day is read twice. Every group is named by equality, not as a span: the planner
-- then knows how many rows to expect, and takes the primary key for a day and a hash for a rebuild.
SELECT
    span.country,
    lower(span.days) + n AS trend_date,
    n < 13 AS is_context
FROM (
    SELECT country, unnest(range_agg(daterange(record_date - 13, record_date + 14))) AS days
    FROM changes_covid
    GROUP BY country
) AS span
CROSS JOIN LATERAL generate_series(0, upper(span.days) - lower(span.days) - 1) AS n;

-- @select
WITH by_day AS (
    SELECT
        scope.country,
        scope.trend_date,
        scope.is_context,
        sum(covid.confirmed) AS confirmed,
        sum(covid.deaths) AS deaths,
        sum(covid.recovered) AS recovered,
        sum(covid.confirmed) FILTER (WHERE covid.recovered IS NOT NULL) AS confirmed_where_recovered,
        sum(covid.active_cases) AS active_cases,
        sum(covid.daily_new_cases) AS new_cases,
        sum(covid.daily_new_deaths) AS new_deaths
    FROM scope
    JOIN silver.clean_covid AS covid ON covid.record_date = scope.trend_date AND covid.country = scope.country
    GROUP BY scope.country, scope.trend_date, scope.is_context
),
by_week AS (
    SELECT
        *,
        sum(new_cases) OVER last_week AS last_week,
        count(new_cases) OVER last_week AS last_week_days,
        sum(new_cases) OVER week_before AS week_before,
        count(new_cases) OVER week_before AS week_before_days
    FROM by_day
    WINDOW
        -- Days as whole numbers: frames over them cost a third of frames over dates and intervals.
        series AS (PARTITION BY country ORDER BY (trend_date - date '2000-01-01')),
        last_week AS (series RANGE BETWEEN 6 PRECEDING AND CURRENT ROW),
        week_before AS (series RANGE BETWEEN 13 PRECEDING AND 7 PRECEDING)
)
SELECT
    country,
    trend_date,
    confirmed::bigint AS confirmed_cases,
    deaths::bigint AS deaths,
    recovered::bigint AS recovered,
    active_cases::bigint AS active_cases,
    round(100 * deaths / nullif(confirmed, 0), 4) AS mortality_rate,
    round(100 * recovered / nullif(confirmed_where_recovered, 0), 4) AS recovery_rate,
    new_cases::bigint AS daily_new_cases,
    new_deaths::bigint AS daily_new_deaths,
    CASE WHEN last_week_days = 7 THEN round(last_week / 7, 4) END AS weekly_avg_cases,
    CASE
        WHEN last_week_days < 7 OR week_before_days < 7 THEN NULL
        WHEN week_before <= 0 THEN
            CASE sign(last_week - week_before) WHEN 1 THEN 'INCREASING' WHEN -1 THEN 'DECREASING' ELSE 'STABLE' END
        WHEN 10 * last_week > 11 * week_before THEN 'INCREASING'
        WHEN 10 * last_week < 9 * week_before THEN 'DECREASING'
        ELSE 'STABLE'
    END AS trend_direction,
    CASE
        WHEN confirmed IS NULL THEN NULL
        WHEN confirmed > 1000000 THEN 'CRITICAL'
        WHEN confirmed > 100000 THEN 'HIGH'
        WHEN confirmed > 10000 THEN 'MEDIUM'
        ELSE 'LOW'
    END AS severity_level
FROM by_week
WHERE NOT is_context;

-- @audit cases_do_not_vanish: the country lost a quarter of its confirmed cases from one day to the next
SELECT today.country, today.trend_date, before.confirmed_cases AS cases_before, today.confirmed_cases
FROM scope
JOIN gold.covid_country_trends AS today USING (country, trend_date)
JOIN gold.covid_country_trends AS before
    ON before.country = today.country AND before.trend_date = today.trend_date - 1
WHERE 4 * today.confirmed_cases < 3 * before.confirmed_cases;
