-- What became of rows that were asked to be replayed. Parameter ids: bigint[].
SELECT
    count(DISTINCT row.object_id) FILTER (WHERE object.status IN ('registered', 'processing')) AS objects_unfinished,
    count(*) FILTER (WHERE row.status = 'replayed') AS rows_passed,
    count(*) FILTER (WHERE row.status = 'open') AS rows_open,
    count(*) FILTER (WHERE row.status NOT IN ('replayed', 'open')) AS rows_closed,
    -- A pass that ended without looking at the row has failed.
    min(object.error_message) FILTER (
        WHERE row.is_requested AND object.status NOT IN ('registered', 'processing')
    ) AS failure
FROM silver.quarantine AS row
JOIN bronze.ingestion_metadata AS object USING (object_id)
WHERE row.quarantine_id = ANY (%(ids)s::bigint[])
