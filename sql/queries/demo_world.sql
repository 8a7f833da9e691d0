-- The world on the newest day of the data.
SELECT
    summary_date, total_countries, total_confirmed, total_deaths, daily_new_cases, daily_new_deaths,
    week_over_week_change, top_5_countries
FROM gold.covid_global_summary
ORDER BY summary_date DESC
LIMIT 1
