-- Who wrote most on the newest day with posts.
SELECT users.full_name, metrics.post_count, metrics.total_words, metrics.engagement_score, metrics.activity_level
FROM gold.user_engagement_metrics AS metrics
JOIN silver.clean_users AS users USING (user_id)
WHERE metrics.engagement_date = (SELECT max(engagement_date) FROM gold.user_engagement_metrics)
ORDER BY metrics.engagement_score DESC, metrics.user_id
LIMIT 5
