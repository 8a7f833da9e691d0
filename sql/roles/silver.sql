-- What a silver worker may do: bring objects through the ledger into raw history and clean tables, and queue work for gold.
-- It ends the sessions of other silver workers that fell silent, which their common role allows.

GRANT USAGE ON SCHEMA bronze, silver, gold TO medallion_silver;
GRANT SELECT, INSERT, UPDATE ON bronze.ingestion_metadata, bronze.workers, bronze.dead_letters TO medallion_silver;
GRANT SELECT, INSERT ON bronze.processing_runs, bronze.stops, bronze.deaths TO medallion_silver;
GRANT SELECT, INSERT, UPDATE, DELETE ON silver.datasets, silver.key_facts, silver.quarantine, silver.orphans TO medallion_silver;
GRANT SELECT, INSERT, UPDATE ON silver.change_sets TO medallion_silver;
GRANT SELECT, INSERT ON silver.data_quality_logs TO medallion_silver;
GRANT SELECT ON bronze.evolved_columns TO medallion_silver;
GRANT EXECUTE ON FUNCTION bronze.evolve TO medallion_silver;  -- adds text columns where a contract lets files bring some
GRANT SELECT, INSERT, UPDATE, DELETE ON silver.profiles, silver.expectations TO medallion_silver;
GRANT SELECT, INSERT ON gold.pending TO medallion_silver;

-- The tables of datasets, partitions among them: whichever there are by now.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT format('bronze.%I', tablename) FROM pg_tables
        WHERE schemaname = 'bronze' AND tablename ^@ 'raw_'
    LOOP
        EXECUTE 'GRANT SELECT, INSERT ON ' || name || ' TO medallion_silver';
    END LOOP;
    FOR name IN SELECT format('silver.%I', tablename) FROM pg_tables
        WHERE schemaname = 'silver' AND tablename ^@ 'clean_'
    LOOP
        EXECUTE 'GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE, MAINTAIN ON ' || name || ' TO medallion_silver';
    END LOOP;
END
$$;

DO $$
BEGIN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO medallion_silver', current_database());
END
$$;
