-- Workers that stand still because so many objects in a row met a bug that the deployment must be broken.

CREATE TABLE bronze.stops (
    stop_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    worker_id  text NOT NULL,
    service    text NOT NULL,
    reason     text NOT NULL,
    stopped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    resumed_at timestamptz                       -- somebody said `medallion dead-letters resume`
);
CREATE INDEX stops_open ON bronze.stops (worker_id) WHERE resumed_at IS NULL;

CREATE INDEX dead_letters_open ON bronze.dead_letters (dead_letter_id) WHERE status = 'open';
