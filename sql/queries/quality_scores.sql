-- The score of each dataset by day of landing, with what was landed, oldest day first.
-- Parameters dataset: NULL for all; since: the first day.
SELECT
    dataset,
    day,
    objects,
    objects_rejected,
    rows_read,
    rows_quarantined,
    data_quality_score
FROM silver.dataset_scores
WHERE day >= %(since)s::date AND (%(dataset)s::text IS NULL OR dataset = %(dataset)s)
ORDER BY dataset, day
