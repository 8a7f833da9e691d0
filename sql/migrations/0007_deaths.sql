-- Workers that died, or fell silent, on an object: what is known of them is the evidence when the object becomes failed.

CREATE TABLE bronze.deaths (
    object_id    uuid NOT NULL REFERENCES bronze.ingestion_metadata,
    epoch        integer NOT NULL,                   -- of the claim that ended so
    worker_id    text,
    host         text,                               -- this and the next two as its heartbeats told; NULL: it sent none
    pid          integer,
    heartbeat_at timestamptz,                        -- its last sign of life
    claimed_at   timestamptz,
    found_at     timestamptz NOT NULL DEFAULT clock_timestamp(),  -- by the worker that claimed the object next
    PRIMARY KEY (object_id, epoch)
);
