-- One change set a dataset that gold has yet to take in: enough to wake it.
SELECT DISTINCT ON (dataset) dataset, change_set_id::text
FROM gold.pending
ORDER BY dataset, created_at
