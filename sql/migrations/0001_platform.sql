-- The platform's own tables: ledger, runs, workers, polls; change sets, quarantine, quality; gold's queue.
-- Dataset tables (raw_*, clean_*) are derived from config/datasets by `medallion migrate`.

CREATE SCHEMA IF NOT EXISTS bronze;
CREATE SCHEMA IF NOT EXISTS silver;
CREATE SCHEMA IF NOT EXISTS gold;

-- The ledger: one row per object version. It is the truth; events are hints.
CREATE TABLE bronze.ingestion_metadata (
    object_id          uuid PRIMARY KEY,             -- computed from bucket, key and version: see shared/version.py
    dataset            text,                         -- NULL where no dataset claims the key
    bucket             text NOT NULL,
    object_key         text NOT NULL,
    version_id         text NOT NULL,                -- '' in an unversioned bucket
    etag               text NOT NULL,
    size_bytes         bigint NOT NULL,
    content_sha256     text,                         -- declared by whoever landed it, else computed when read
    source_url         text,
    landed_at          timestamptz NOT NULL,
    version            uuid NOT NULL,                -- order of versions: (landed_at, order in key, object id)
    write_disposition  text NOT NULL CHECK (write_disposition IN ('replace', 'merge', 'append')),
    discovered_by      text NOT NULL CHECK (discovered_by IN ('event', 'sweep', 'poll', 'cli')),
    status             text NOT NULL DEFAULT 'registered' CHECK (status IN
        ('registered', 'processing', 'done', 'superseded', 'rejected', 'ignored', 'held', 'failed')),
    attempts           integer NOT NULL DEFAULT 0,   -- committed before work starts, so that a crash counts
    epoch              integer NOT NULL DEFAULT 0,   -- raised by every claim; fences off whoever held it before
    worker_id          text,                         -- who claimed it last
    is_approved        boolean NOT NULL DEFAULT false, -- a person let it through although it was held
    error_message      text,
    rows_read          bigint,
    rows_inserted      bigint,
    rows_updated       bigint,
    rows_unchanged     bigint,
    rows_deleted       bigint,
    rows_quarantined   bigint,
    rows_duplicate     bigint,
    rows_superseded    bigint,
    rows_discarded     bigint,
    data_quality_score numeric(7, 4),                -- mean over the rows read that were valid
    registered_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    announced_at       timestamptz,                  -- last time an event was sent for it while unfinished
    started_at         timestamptz,
    finished_at        timestamptz
);
CREATE INDEX ingestion_metadata_by_key ON bronze.ingestion_metadata (bucket, object_key, version);
CREATE INDEX ingestion_metadata_by_dataset ON bronze.ingestion_metadata (dataset, version);
CREATE INDEX ingestion_metadata_unfinished ON bronze.ingestion_metadata (dataset, version)
    WHERE status IN ('registered', 'processing', 'held', 'failed');

-- One row per pass over an object.
CREATE TABLE bronze.processing_runs (
    run_id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    object_id        uuid NOT NULL REFERENCES bronze.ingestion_metadata,
    dataset          text,
    kind             text NOT NULL CHECK (kind IN ('first', 'retry', 'replay', 'backfill')),
    worker_id        text,
    outcome          text NOT NULL,
    error_message    text,
    rows_read        bigint,
    rows_inserted    bigint,
    rows_updated     bigint,
    rows_unchanged   bigint,
    rows_deleted     bigint,
    rows_quarantined bigint,
    rows_duplicate   bigint,
    rows_superseded  bigint,
    rows_discarded   bigint,
    rows_rewritten   bigint,                         -- neighbours whose windowed columns changed
    read_seconds     double precision,               -- download, parse, cast, check, hash
    merge_seconds    double precision,               -- diff to commit
    started_at       timestamptz NOT NULL,
    finished_at      timestamptz NOT NULL
);
CREATE INDEX processing_runs_by_time ON bronze.processing_runs (finished_at);
CREATE INDEX processing_runs_by_object ON bronze.processing_runs (object_id);

-- Who is alive. A worker that falls silent loses its database sessions.
CREATE TABLE bronze.workers (
    worker_id    text PRIMARY KEY,
    service      text NOT NULL,
    host         text NOT NULL,
    pid          integer NOT NULL,
    backend_pid  integer,                            -- the session that holds its claims
    object_id    uuid,                               -- what it works on
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    stopped_at   timestamptz
);

-- Every poll of every source, whether or not it landed something.
CREATE TABLE bronze.polls (
    poll_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset       text NOT NULL,
    source_url    text NOT NULL,
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz NOT NULL,
    outcome       text NOT NULL CHECK (outcome IN ('landed', 'unchanged', 'failed')),
    http_status   integer,
    attempts      integer NOT NULL,
    etag          text,                              -- what the next conditional request sends
    last_modified text,
    content_sha256 text,
    size_bytes    bigint,
    object_key    text,
    error_message text
);
CREATE INDEX polls_by_source ON bronze.polls (dataset, source_url, poll_id);

-- What silver knows of a dataset as a whole.
CREATE TABLE silver.datasets (
    dataset              text PRIMARY KEY,
    snapshot_version     uuid,                       -- newest applied snapshot whose keys were all readable
    snapshot_object_id   uuid,
    latest_snapshot      uuid,                       -- newest applied snapshot, clean or not: closes older quarantine
    snapshot_rows        bigint,                     -- its keys: what the removal guard measures against
    rows_live            bigint NOT NULL DEFAULT 0,
    contract_fingerprint text,
    newest_landed_at     timestamptz,                -- of all objects that took effect or were superseded
    updated_at           timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Facts about single keys that order independence needs and no live row can hold (shared/DESIGN: newer wins).
CREATE TABLE silver.key_facts (
    dataset       text NOT NULL,
    key_hash      uuid NOT NULL,
    first_seen_at timestamptz,                       -- of a key that has no live row
    bad_version   uuid,                              -- newest object that held the key in a quarantined row only
    floor_version uuid,                              -- objects at or below it have no say on this key any more
    PRIMARY KEY (dataset, key_hash)
);

-- What changed: one row per committed merge that changed anything.
CREATE TABLE silver.change_sets (
    change_set_id  uuid PRIMARY KEY,
    dataset        text NOT NULL,
    object_id      uuid,
    is_everything  boolean NOT NULL,                 -- too many groups to list: recompute all of them
    groups         jsonb NOT NULL,                   -- [[value, …], …] in the order of the dataset's change_groups
    group_columns  text[] NOT NULL,
    rows_inserted  bigint NOT NULL,
    rows_updated   bigint NOT NULL,
    rows_deleted   bigint NOT NULL,
    rows_rewritten bigint NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    announced_at   timestamptz,                      -- silver-ready was sent
    exported_at    timestamptz                       -- its Parquet file lies in silver-layer
);
CREATE INDEX change_sets_unannounced ON silver.change_sets (created_at) WHERE announced_at IS NULL OR exported_at IS NULL;

-- Gold's queue: one row per model and change set, deleted in the transaction that refreshes the model.
CREATE TABLE gold.pending (
    model         text NOT NULL,
    change_set_id uuid NOT NULL REFERENCES silver.change_sets,
    dataset       text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, change_set_id)
);

-- When each model was last brought up to date, by what, and whether its snapshot and event went out.
CREATE TABLE gold.refreshes (
    refresh_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model         text NOT NULL,
    is_rebuild    boolean NOT NULL,
    change_sets   uuid[] NOT NULL,
    rows_written  bigint NOT NULL,
    rows_deleted  bigint NOT NULL,
    seconds       double precision NOT NULL,
    finished_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    announced_at  timestamptz
);
CREATE INDEX refreshes_by_model ON gold.refreshes (model, finished_at);

-- Rows that did not make it, whole, with the reasons.
CREATE TABLE silver.quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset       text NOT NULL,
    key           jsonb,                             -- NULL where the key cannot be read
    key_hash      uuid,
    object_id     uuid NOT NULL,
    version       uuid NOT NULL,
    line_number   bigint NOT NULL,
    raw           text NOT NULL,                     -- as delivered; bytes that text cannot hold are escaped
    reasons       jsonb NOT NULL,                    -- [{rule, column, value, message}, …]
    status        text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'replayed', 'superseded', 'discarded')),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at     timestamptz,
    UNIQUE (object_id, line_number)
);
CREATE INDEX quarantine_open ON silver.quarantine (dataset, version) WHERE status = 'open';

-- One row per rule and object.
CREATE TABLE silver.data_quality_logs (
    log_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name      text NOT NULL,
    quality_check   text NOT NULL,
    severity        text NOT NULL,
    records_checked bigint NOT NULL,
    records_failed  bigint NOT NULL,
    failure_rate    numeric(9, 6) NOT NULL,          -- share, 0 to 1
    threshold       numeric(9, 6),                   -- largest share that passes
    passed          boolean NOT NULL,
    object_id       uuid,
    check_timestamp timestamptz NOT NULL DEFAULT clock_timestamp(),
    details         jsonb
);
CREATE INDEX data_quality_logs_by_time ON silver.data_quality_logs (table_name, check_timestamp);

-- Events nobody could read and objects that met a bug.
CREATE TABLE bronze.dead_letters (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic          text NOT NULL,
    payload        text NOT NULL,
    reason         text NOT NULL,
    traceback      text,
    attempts       integer NOT NULL DEFAULT 1,
    dataset        text,
    object_id      uuid,
    status         text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'replayed')),
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The columns that each derived dataset table was created with, to tell widening changes from others.
CREATE TABLE bronze.contracts (
    dataset     text PRIMARY KEY,
    contract    jsonb NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
