-- What each expectation last said of its dataset, what fails first.
-- Parameter dataset: NULL for all.
SELECT
    said.dataset,
    said.quality_check,
    said.kind,
    said.severity,
    said.passed,
    said.message,
    said.failing_since,
    said.checked_at,
    said.object_id,
    object.object_key,
    extract(epoch FROM clock_timestamp() - said.failing_since)::float8 AS failing_seconds
FROM silver.expectations AS said
LEFT JOIN bronze.ingestion_metadata AS object USING (object_id)
WHERE %(dataset)s::text IS NULL OR said.dataset = %(dataset)s
ORDER BY said.passed, said.severity, said.dataset, said.quality_check
