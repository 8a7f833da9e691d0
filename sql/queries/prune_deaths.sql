-- What is known of workers that died on objects which have come to their end since.
-- Parameter seconds: how old they must be.
SELECT ctid
FROM bronze.deaths AS death
WHERE found_at < clock_timestamp() - make_interval(secs => %(seconds)s)
    AND EXISTS (
        SELECT FROM bronze.ingestion_metadata AS object
        WHERE object.object_id = death.object_id AND object.status IN ('done', 'superseded', 'rejected', 'ignored')
    )
