-- name: user_engagement_metrics
-- description: Who wrote how much, by the day on which the posts were first seen.
-- kind: incremental
-- grain: engagement_date, user_id
-- depends on: silver.clean_posts
-- made of: silver.clean_posts: user_id = :user_id AND (_first_seen_at AT TIME ZONE 'UTC')::date = :engagement_date
-- scope by: engagement_date
-- columns:
--   engagement_date date: UTC day on which the posts were first seen
--   user_id bigint: the author
--   post_count bigint: posts first seen that day
--   avg_post_length numeric: mean characters of their bodies
--   total_words bigint: words of their bodies
--   engagement_score numeric: 100 × share of the day's other authors who wrote less (posts, then words)
--   activity_level text: HIGH from a score of 66.67, MEDIUM from 33.33, else LOW
--   last_active_date date: newest day on which a post of the author was first seen

-- @scope
-- A score ranks an author among all of the day, and a newer post dates the author's earlier days too.
SELECT (_first_seen_at AT TIME ZONE 'UTC')::date AS engagement_date
FROM changes_posts
UNION
SELECT engagement_date
FROM gold.user_engagement_metrics
WHERE user_id IN (SELECT user_id FROM changes_posts);

-- @select
WITH posts AS (
    SELECT user_id, body_length, word_count, (_first_seen_at AT TIME ZONE 'UTC')::date AS seen_on
    FROM silver.clean_posts
),
authors AS (
    SELECT user_id, max(seen_on) AS last_active_date
    FROM posts
    GROUP BY user_id
),
by_author AS (
    SELECT
        posts.seen_on AS engagement_date,
        posts.user_id,
        count(*) AS post_count,
        round(avg(posts.body_length), 4) AS avg_post_length,
        coalesce(sum(posts.word_count), 0)::bigint AS total_words
    FROM posts
    JOIN scope ON scope.engagement_date = posts.seen_on
    GROUP BY posts.seen_on, posts.user_id
),
ranked AS (
    SELECT
        *,
        -- percent_rank() in exact numbers; an author alone in a day has nobody below: 0.
        coalesce(
            round(
                100 * (rank() OVER (PARTITION BY engagement_date ORDER BY post_count, total_words) - 1)::numeric
                / nullif(count(*) OVER (PARTITION BY engagement_date) - 1, 0),
                4
            ),
            0
        ) AS engagement_score
    FROM by_author
)
SELECT
    ranked.engagement_date,
    ranked.user_id,
    ranked.post_count,
    ranked.avg_post_length,
    ranked.total_words,
    ranked.engagement_score,
    CASE
        WHEN ranked.engagement_score >= 66.67 THEN 'HIGH'
        WHEN ranked.engagement_score >= 33.33 THEN 'MEDIUM'
        ELSE 'LOW'
    END AS activity_level,
    authors.last_active_date
FROM ranked
JOIN authors ON authors.user_id = ranked.user_id;

-- @audit activity_is_not_in_the_future: the author was last active before the day itself
SELECT user_id, engagement_date, last_active_date
FROM gold.user_engagement_metrics
JOIN scope USING (engagement_date)
WHERE last_active_date < engagement_date;
