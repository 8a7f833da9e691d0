-- name: mv_user_company_analysis
-- description: The users by the company they work for.
-- kind: materialized_view
-- grain: company_name
-- depends on: silver.clean_users
-- made of: silver.clean_users: company_name = :company_name
-- columns:
--   company_name text: the company
--   user_count bigint: its users
--   avg_name_length numeric: mean characters of their full names
--   domains text[]: the domains of their e-mail addresses

-- @select
SELECT
    company_name COLLATE "C" AS company_name,
    count(*) AS user_count,
    round(avg(name_length), 4) AS avg_name_length,
    coalesce(
        array_agg(DISTINCT email_domain COLLATE "C" ORDER BY email_domain COLLATE "C")
            FILTER (WHERE email_domain IS NOT NULL),
        '{}'
    ) AS domains
FROM silver.clean_users
WHERE company_name IS NOT NULL
GROUP BY company_name COLLATE "C";
