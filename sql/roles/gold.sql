-- What a gold worker may do: read silver and what the models ask of the ledger, and keep gold's tables and views.

GRANT USAGE ON SCHEMA bronze, silver, gold TO medallion_gold;
GRANT SELECT ON bronze.ingestion_metadata, bronze.processing_runs TO medallion_gold;
GRANT SELECT, INSERT, UPDATE ON bronze.workers, bronze.dead_letters TO medallion_gold;
GRANT SELECT, INSERT ON bronze.stops TO medallion_gold;
GRANT SELECT ON ALL TABLES IN SCHEMA silver TO medallion_gold;
GRANT INSERT ON silver.data_quality_logs TO medallion_gold;  -- what audits find
GRANT SELECT, INSERT, UPDATE, DELETE, MAINTAIN ON ALL TABLES IN SCHEMA gold TO medallion_gold;

DO $$
BEGIN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO medallion_gold', current_database());
END
$$;
