-- Datasets whose last poll failed, with the reason.
SELECT dataset, error_message
FROM (SELECT DISTINCT ON (dataset) dataset, outcome, error_message FROM bronze.polls ORDER BY dataset, poll_id DESC) AS last
WHERE outcome = 'failed'
