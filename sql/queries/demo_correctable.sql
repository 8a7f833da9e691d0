-- The largest series of the newest day, to make up a correction of them.
-- Parameter rows: how many.
SELECT record_date, country, province, confirmed, deaths, recovered
FROM silver.clean_covid
WHERE record_date = (SELECT max(record_date) FROM silver.clean_covid) AND province = '' AND confirmed IS NOT NULL
ORDER BY confirmed DESC, country
LIMIT %(rows)s
