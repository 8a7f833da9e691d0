-- How many objects there are by status.
SELECT status, count(*) AS objects
FROM bronze.ingestion_metadata
GROUP BY status
