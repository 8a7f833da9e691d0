-- Dead letters, newest first, with what became of their object.
-- Parameters ids: bigint[], NULL for all; status: 'all' for all; rows: how many, NULL for all.
SELECT
    letter.dead_letter_id,
    letter.status,
    letter.topic,
    letter.dataset,
    letter.reason,
    letter.attempts,
    letter.created_at,
    extract(epoch FROM clock_timestamp() - letter.created_at)::float8 AS age_seconds,
    letter.object_id,
    object.object_key,
    object.status AS object_status,
    letter.payload,
    letter.traceback
FROM bronze.dead_letters AS letter
LEFT JOIN bronze.ingestion_metadata AS object USING (object_id)
WHERE (%(ids)s::bigint[] IS NULL OR letter.dead_letter_id = ANY (%(ids)s::bigint[]))
    AND (%(status)s = 'all' OR letter.status = %(status)s)
ORDER BY letter.dead_letter_id DESC
LIMIT %(rows)s
