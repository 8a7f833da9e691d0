-- What people ask of objects that have come to their end: run them again, let them through, take them back.

ALTER TABLE bronze.ingestion_metadata
    ADD COLUMN request text CHECK (request IN ('backfill', 'replay')),  -- what the next pass is for; NULL: to load it
    ADD COLUMN completed_as text,        -- the status of its first completion, which later passes keep
    ADD COLUMN file_header text[];       -- the names in a CSV file's header, by which kept raw rows are read again

ALTER TABLE silver.quarantine
    ADD COLUMN is_requested boolean NOT NULL DEFAULT false;  -- a person asked for it to be replayed
