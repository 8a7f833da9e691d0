-- Objects that a person took back: their rows are rebuilt from the others, and they have no say any more.

ALTER TABLE bronze.ingestion_metadata
    ADD COLUMN is_withdrawn boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT ingestion_metadata_request_check,
    ADD CONSTRAINT ingestion_metadata_request_check CHECK (request IN ('backfill', 'replay', 'withdraw'));

ALTER TABLE bronze.processing_runs
    DROP CONSTRAINT processing_runs_kind_check,
    ADD CONSTRAINT processing_runs_kind_check CHECK (kind IN ('first', 'retry', 'replay', 'backfill', 'withdraw'));
