-- What a dataset's tables look like, since when and by whom; columns that files bring and no contract declares.

-- The columns that files brought. Those that a contract declares later leave this table: see shared/tables.py.
CREATE TABLE bronze.evolved_columns (
    dataset     text NOT NULL,
    column_name text NOT NULL,
    origin      text NOT NULL,                       -- its name in the file, or of the column whose text it keeps
    object_id   uuid,                                -- which brought it first
    added_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (dataset, column_name)
);

CREATE TABLE bronze.schema_history (
    change_id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset              text NOT NULL,
    changed_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    change               text NOT NULL CHECK (change IN (
        'tables made', 'tables found', 'column added', 'column evolved', 'column promoted', 'column gone',
        'type changed', 'contract changed')),
    column_name          text,
    column_type          text,                       -- afterwards
    origin               text,                       -- of an evolved column: its name in the file
    object_id            uuid,                       -- whose file brought it; NULL: by `migrate`
    contract_fingerprint text,
    details              text
);
CREATE INDEX schema_history_by_dataset ON bronze.schema_history (dataset, change_id);

-- Lets silver's login, which owns no tables, add text columns to those of one dataset, where the contract that `migrate`
-- recorded says so. Returns NULL when they are there, else why they cannot be; the caller holds the dataset's lock.
CREATE FUNCTION bronze.evolve(of_dataset text, names text[], origins text[], by_object uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    declared jsonb := (SELECT contract FROM bronze.contracts WHERE dataset = of_dataset);
    most     integer := (declared ->> 'evolved_columns_max')::integer;
    is_text  boolean;
BEGIN
    IF declared IS NULL THEN
        RAISE 'dataset % is not known to the database yet: run `medallion migrate`', of_dataset USING ERRCODE = '57000';
    END IF;
    FOR position IN 1 .. cardinality(names) LOOP
        IF names[position] !~ '^[a-z][a-z0-9_]{0,62}$' THEN
            RAISE '% is no name of a column', quote_literal(names[position]);
        ELSIF declared ->> (CASE WHEN names[position] ~ '__v_text$' THEN 'data_type' ELSE 'columns' END) <> 'evolve'
            OR declared -> 'declared' ? names[position] THEN
            RAISE 'the contract of % that the database knows is another one: run `medallion migrate`, restart the workers',
                of_dataset USING ERRCODE = '57000';
        END IF;
        SELECT format_type(atttypid, atttypmod) = 'text' AND NOT attnotnull INTO is_text FROM pg_attribute
        WHERE attrelid = format('silver.%I', 'clean_' || of_dataset)::regclass AND attname = names[position];
        IF NOT is_text THEN
            RETURN format('silver.clean_%s has a column %s that is no longer in the contract and is not of type text: '
                'drop it, or declare it again', of_dataset, names[position]);
        END IF;
    END LOOP;
    IF (SELECT count(*) FROM (SELECT column_name FROM bronze.evolved_columns WHERE dataset = of_dataset
                              UNION SELECT unnest(names)) AS wanted) > most THEN
        RETURN format('with %s the dataset would have more than the %s evolved columns that '
            'limits.evolved_columns_max allows', array_to_string(names, ', '), most);
    END IF;
    FOR position IN 1 .. cardinality(names) LOOP
        IF names[position] !~ '__v_text$' THEN
            EXECUTE format('ALTER TABLE bronze.%I ADD COLUMN IF NOT EXISTS %I text', 'raw_' || of_dataset, names[position]);
        END IF;
        EXECUTE format('ALTER TABLE silver.%I ADD COLUMN IF NOT EXISTS %I text', 'clean_' || of_dataset, names[position]);
        INSERT INTO bronze.evolved_columns (dataset, column_name, origin, object_id)
        VALUES (of_dataset, names[position], origins[position], by_object) ON CONFLICT DO NOTHING;
        INSERT INTO bronze.schema_history
            (dataset, change, column_name, column_type, origin, object_id, contract_fingerprint)
        VALUES (of_dataset, 'column evolved', names[position], 'text', origins[position], by_object,
                declared ->> 'fingerprint');
    END LOOP;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION bronze.evolve FROM PUBLIC;

-- How many values of each column are known, of every dataset that has a table, evolved columns among them.
CREATE FUNCTION silver.completeness() RETURNS TABLE (dataset text, column_name text, rows bigint, known bigint)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    held record;
BEGIN
    FOR held IN
        SELECT c.relname, substr(c.relname, length('clean_') + 1) AS name, array_agg(a.attname::text ORDER BY attnum) AS names,
               string_agg(format('count(%I)', a.attname), ', ' ORDER BY attnum) AS counts
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relnamespace = 'silver'::regnamespace AND c.relname ^@ 'clean_' AND c.relkind IN ('r', 'p')
          AND NOT c.relispartition AND NOT a.attname ^@ '_'
        GROUP BY c.relname ORDER BY c.relname
    LOOP
        RETURN QUERY EXECUTE format(
            'SELECT %L, unnest(%L::text[]), _rows, unnest(_known) FROM (SELECT count(*) AS _rows, ARRAY[%s] AS _known FROM silver.%I) AS t',
            held.name, held.names, held.counts, held.relname);
    END LOOP;
END
$$;
