-- How much is unfinished, by status of objects, and the change sets that gold has not taken in (as status 'gold').
-- Parameter datasets: text[], NULL for all.
SELECT status, count(*) AS objects
FROM bronze.ingestion_metadata
WHERE status IN ('registered', 'processing', 'held', 'failed')
    AND (%(datasets)s::text[] IS NULL OR dataset = ANY (%(datasets)s::text[]))
GROUP BY status
UNION ALL
SELECT 'gold', count(DISTINCT change_set_id)
FROM gold.pending
WHERE %(datasets)s::text[] IS NULL OR dataset = ANY (%(datasets)s::text[])
HAVING count(*) > 0
