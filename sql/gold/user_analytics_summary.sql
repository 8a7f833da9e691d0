-- name: user_analytics_summary
-- description: The users as they stood at the end of each day on which data arrived.
-- kind: incremental
-- grain: summary_date
-- depends on: silver.clean_users, silver.clean_posts, silver.datasets
-- made of: silver.clean_users: (_first_seen_at AT TIME ZONE 'UTC')::date <= :summary_date
-- scope by: summary_date
-- history: kept
-- columns:
--   summary_date date: UTC day of the newest landing of users and posts
--   total_users bigint: users there are
--   new_users_today bigint: users first seen that day
--   active_users bigint: users with a post first seen within the 30 days that end with this one
--   users_by_domain jsonb: users by domain of their e-mail address
--   avg_name_length numeric: mean characters of their full names
--   top_company text: the company with most users, ties by name
--   users_per_company jsonb: users by company
--   data_quality_score numeric: mean score of the users

-- @scope
-- Silver knows only the present: the row of the newest day is computed, those of earlier days stay as they were.
SELECT (max(newest_landed_at) AT TIME ZONE 'UTC')::date AS summary_date
FROM silver.datasets
WHERE dataset IN ('users', 'posts')
HAVING max(newest_landed_at) IS NOT NULL;

-- @select
WITH companies AS (
    SELECT company_name, count(*) AS users
    FROM silver.clean_users
    WHERE company_name IS NOT NULL
    GROUP BY company_name
),
domains AS (
    SELECT email_domain, count(*) AS users
    FROM silver.clean_users
    WHERE email_domain IS NOT NULL
    GROUP BY email_domain
)
SELECT
    scope.summary_date,
    users.total AS total_users,
    users.new AS new_users_today,
    users.active AS active_users,
    (SELECT coalesce(jsonb_object_agg(email_domain, domains.users), '{}') FROM domains) AS users_by_domain,
    users.avg_name_length,
    (
        SELECT company_name
        FROM companies
        ORDER BY companies.users DESC, company_name COLLATE "C"
        LIMIT 1
    ) AS top_company,
    (SELECT coalesce(jsonb_object_agg(company_name, companies.users), '{}') FROM companies) AS users_per_company,
    users.score AS data_quality_score
FROM scope
CROSS JOIN LATERAL (
    SELECT
        count(*) AS total,
        count(*) FILTER (WHERE (_first_seen_at AT TIME ZONE 'UTC')::date = scope.summary_date) AS new,
        count(*) FILTER (WHERE user_id IN (
            SELECT user_id
            FROM silver.clean_posts
            WHERE (_first_seen_at AT TIME ZONE 'UTC')::date BETWEEN scope.summary_date - 29 AND scope.summary_date
        )) AS active,
        round(avg(name_length), 4) AS avg_name_length,
        round(avg(data_quality_score), 4) AS score
    FROM silver.clean_users
) AS users;

-- @audit parts_within_the_whole: more new or active users than there are users
SELECT summary_date, total_users, new_users_today, active_users
FROM gold.user_analytics_summary
JOIN scope USING (summary_date)
WHERE greatest(new_users_today, active_users) > total_users;
