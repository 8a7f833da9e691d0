-- name: v_data_completeness
-- description: How many values of each column are known, by dataset.
-- kind: view
-- grain: dataset, column_name
-- depends on: silver.clean_users, silver.clean_posts, silver.clean_covid
-- columns:
--   dataset text: the dataset
--   column_name text: a column of its clean table
--   rows bigint: rows of the table
--   known bigint: rows in which the column is not NULL
--   share_known numeric: known by rows, 0 to 1; NULL where the table is empty

-- @select
-- One pass over each table; the row of counts is then turned into a row for each column.
WITH users AS (
    SELECT
        count(*) AS _rows,
        count(user_id) AS user_id,
        count(full_name) AS full_name,
        count(username) AS username,
        count(email) AS email,
        count(phone) AS phone,
        count(website) AS website,
        count(street) AS street,
        count(suite) AS suite,
        count(city) AS city,
        count(zipcode) AS zipcode,
        count(geo_lat) AS geo_lat,
        count(geo_lng) AS geo_lng,
        count(company_name) AS company_name,
        count(company_catchphrase) AS company_catchphrase,
        count(company_bs) AS company_bs,
        count(email_domain) AS email_domain,
        count(formatted_phone) AS formatted_phone,
        count(name_length) AS name_length,
        count(email_valid) AS email_valid,
        count(phone_valid) AS phone_valid,
        count(phone_plausible) AS phone_plausible,
        count(data_quality_score) AS data_quality_score
    FROM silver.clean_users
),
posts AS (
    SELECT
        count(*) AS _rows,
        count(post_id) AS post_id,
        count(user_id) AS user_id,
        count(title) AS title,
        count(body) AS body,
        count(title_length) AS title_length,
        count(body_length) AS body_length,
        count(word_count) AS word_count,
        count(avg_word_length) AS avg_word_length,
        count(has_links) AS has_links,
        count(sentiment_score) AS sentiment_score,
        count(data_quality_score) AS data_quality_score
    FROM silver.clean_posts
),
covid AS (
    SELECT
        count(*) AS _rows,
        count(record_date) AS record_date,
        count(country) AS country,
        count(province) AS province,
        count(confirmed) AS confirmed,
        count(deaths) AS deaths,
        count(recovered) AS recovered,
        count(active_cases) AS active_cases,
        count(mortality_rate) AS mortality_rate,
        count(recovery_rate) AS recovery_rate,
        count(daily_new_cases) AS daily_new_cases,
        count(daily_new_deaths) AS daily_new_deaths,
        count(weekly_avg_cases) AS weekly_avg_cases,
        count(outlier_flag) AS outlier_flag,
        count(data_quality_score) AS data_quality_score
    FROM silver.clean_covid
),
counts AS (
    SELECT 'users' AS dataset, _rows, to_jsonb(users) AS known_by_column FROM users
    UNION ALL
    SELECT 'posts', _rows, to_jsonb(posts) FROM posts
    UNION ALL
    SELECT 'covid', _rows, to_jsonb(covid) FROM covid
)
SELECT
    counts.dataset,
    known.column_name,
    counts._rows AS rows,
    known.value::bigint AS known,
    round(known.value::numeric / nullif(counts._rows, 0), 6) AS share_known
FROM counts
CROSS JOIN LATERAL jsonb_each_text(counts.known_by_column - '_rows') AS known (column_name, value);
