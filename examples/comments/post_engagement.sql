-- name: post_engagement
-- description: How much each post is talked about.
-- kind: incremental
-- grain: post_id
-- depends on: silver.clean_posts, silver.clean_comments
-- made of: silver.clean_comments: post_id = :post_id
-- scope by: post_id
-- columns:
--   post_id bigint: the post
--   user_id bigint: its author
--   comment_count bigint: comments on it
--   commenters bigint: different e-mail addresses among them
--   avg_comment_length numeric: mean characters of a comment, NULL without one
--   comments_per_100_words numeric: comments for every hundred words of the post, NULL where it has none

-- @scope
-- Changes of posts are known by their author: all posts that the author has, and those that the model still shows.
SELECT post_id
FROM changes_comments
UNION
SELECT post_id
FROM silver.clean_posts
WHERE user_id IN (SELECT user_id FROM changes_posts)
UNION
SELECT post_id
FROM gold.post_engagement
WHERE user_id IN (SELECT user_id FROM changes_posts);

-- @select
SELECT
    posts.post_id,
    posts.user_id,
    count(comments.id) AS comment_count,
    count(DISTINCT lower(comments.email)) AS commenters,
    round(avg(length(comments.body)), 4) AS avg_comment_length,
    round(100 * count(comments.id)::numeric / nullif(posts.word_count, 0), 4) AS comments_per_100_words
FROM silver.clean_posts AS posts
JOIN scope USING (post_id)
LEFT JOIN silver.clean_comments AS comments USING (post_id)
GROUP BY posts.post_id, posts.user_id, posts.word_count;

-- @audit no_more_commenters_than_comments: somebody is counted who wrote nothing
SELECT post_id, comment_count, commenters
FROM gold.post_engagement
JOIN scope USING (post_id)
WHERE commenters > comment_count;
