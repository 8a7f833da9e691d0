-- The versions of objects that a person means by an id or a key, newest first.
-- Parameters object_id: NULL when it is none; key.
SELECT object_id, status, object_key, landed_at
FROM bronze.ingestion_metadata
WHERE object_id = %(object_id)s::uuid OR object_key = %(key)s
ORDER BY version DESC
LIMIT 20
