-- What is expected of deliveries, the history of what checks found by day, and alerts.

ALTER TABLE silver.data_quality_logs
    ADD COLUMN kind text NOT NULL DEFAULT 'rule' CHECK (kind IN ('rule', 'expectation', 'audit'));
UPDATE silver.data_quality_logs SET kind = 'audit' WHERE table_name LIKE 'gold.%';
-- The newest samples of what a check found, without walking over all that it did not find.
CREATE INDEX data_quality_logs_found ON silver.data_quality_logs (table_name, quality_check, log_id) WHERE records_failed > 0;

-- What a delivery looked like, for later ones to be compared with; the newest few of each dataset.
CREATE TABLE silver.profiles (
    object_id         uuid PRIMARY KEY,
    dataset           text NOT NULL,
    version           uuid NOT NULL,
    write_disposition text NOT NULL,
    profile           jsonb NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX profiles_by_dataset ON silver.profiles (dataset, version);

-- What each expectation last said of its dataset.
CREATE TABLE silver.expectations (
    dataset       text NOT NULL,
    quality_check text NOT NULL,
    kind          text NOT NULL,
    severity      text NOT NULL CHECK (severity IN ('warn', 'error')),
    passed        boolean NOT NULL,
    message       text NOT NULL,
    object_id     uuid NOT NULL,                     -- the delivery that it was last judged by
    checked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    failing_since timestamptz,                       -- NULL while it passes
    PRIMARY KEY (dataset, quality_check)
);

-- data_quality_logs by day and check, so that a year is shown without reading it.
CREATE TABLE silver.quality_days (
    table_name      text NOT NULL,
    day             date NOT NULL,                   -- UTC day on which the object was landed; of an audit, the day it ran
    quality_check   text NOT NULL,
    kind            text NOT NULL,
    severity        text NOT NULL,
    results         bigint NOT NULL,
    results_failed  bigint NOT NULL,
    records_checked numeric NOT NULL,
    records_failed  numeric NOT NULL,
    PRIMARY KEY (table_name, day, quality_check)
);
CREATE INDEX quality_days_by_day ON silver.quality_days (day);

-- Whoever writes a result counts its day, in the same transaction; with the owner's rights, so that nobody else may.
CREATE FUNCTION silver.count_quality_day() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO silver.quality_days AS known (table_name, day, quality_check, kind, severity,
                                              results, results_failed, records_checked, records_failed)
    SELECT l.table_name, (coalesce(o.landed_at, l.check_timestamp) AT TIME ZONE 'UTC')::date, l.quality_check,
        max(l.kind), max(l.severity), count(*), count(*) FILTER (WHERE NOT l.passed), sum(l.records_checked), sum(l.records_failed)
    FROM fresh_logs l LEFT JOIN bronze.ingestion_metadata o ON o.object_id = l.object_id
    GROUP BY 1, 2, 3
    ORDER BY 1, 2, 3
    ON CONFLICT (table_name, day, quality_check) DO UPDATE SET
        kind = excluded.kind, severity = excluded.severity,
        results = known.results + excluded.results,
        results_failed = known.results_failed + excluded.results_failed,
        records_checked = known.records_checked + excluded.records_checked,
        records_failed = known.records_failed + excluded.records_failed;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_quality_day AFTER INSERT ON silver.data_quality_logs
    REFERENCING NEW TABLE AS fresh_logs FOR EACH STATEMENT EXECUTE FUNCTION silver.count_quality_day();

INSERT INTO silver.quality_days
SELECT l.table_name, (coalesce(o.landed_at, l.check_timestamp) AT TIME ZONE 'UTC')::date, l.quality_check,
    max(l.kind), max(l.severity), count(*), count(*) FILTER (WHERE NOT l.passed), sum(l.records_checked), sum(l.records_failed)
FROM silver.data_quality_logs l LEFT JOIN bronze.ingestion_metadata o ON o.object_id = l.object_id
GROUP BY 1, 2, 3;

-- The score of each dataset and day of landing: the mean over the valid rows of its objects.
CREATE INDEX ingestion_metadata_by_day ON bronze.ingestion_metadata (((landed_at AT TIME ZONE 'UTC')::date), dataset);
CREATE VIEW silver.dataset_scores AS
SELECT
    dataset,
    (landed_at AT TIME ZONE 'UTC')::date AS day,
    count(*) AS objects,
    count(*) FILTER (WHERE status = 'rejected') AS objects_rejected,
    sum(rows_read)::bigint AS rows_read,
    sum(rows_quarantined)::bigint AS rows_quarantined,
    round(
        sum(data_quality_score * (rows_read - rows_quarantined - rows_discarded))
        / nullif(sum(rows_read - rows_quarantined - rows_discarded) FILTER (WHERE data_quality_score IS NOT NULL), 0), 4
    ) AS data_quality_score
FROM bronze.ingestion_metadata
WHERE dataset IS NOT NULL AND status <> 'ignored'
GROUP BY dataset, (landed_at AT TIME ZONE 'UTC')::date;

-- The newest runs of one dataset, however rarely it runs.
CREATE INDEX processing_runs_by_dataset ON bronze.processing_runs (dataset, run_id);

-- Alerts: what is wrong, from when to when; the messages that said so; and how each message fared on each channel.
CREATE TABLE bronze.alerts (
    alert_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text NOT NULL,
    subject    text NOT NULL,                        -- which of its kind: an object, a worker, a check
    dataset    text,
    severity   text NOT NULL CHECK (severity IN ('warn', 'error')),
    message    text NOT NULL,
    opened_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    told_at    timestamptz,                          -- when a message named it; NULL: not yet
    closed_at  timestamptz                           -- NULL while it lasts
);
CREATE UNIQUE INDEX alerts_open ON bronze.alerts (kind, subject) WHERE closed_at IS NULL;

CREATE TABLE bronze.alert_messages (
    message_id uuid PRIMARY KEY,
    kind       text NOT NULL,
    status     text NOT NULL CHECK (status IN ('open', 'recovered')),
    message    jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX alert_messages_by_kind ON bronze.alert_messages (kind, created_at);

CREATE TABLE bronze.alert_deliveries (
    message_id      uuid NOT NULL REFERENCES bronze.alert_messages ON DELETE CASCADE,
    channel         text NOT NULL,
    attempts        integer NOT NULL DEFAULT 0,      -- committed before it is tried, so that a crash counts
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at    timestamptz,
    given_up_at     timestamptz,
    error_message   text,
    PRIMARY KEY (message_id, channel)
);
CREATE INDEX alert_deliveries_due ON bronze.alert_deliveries (next_attempt_at)
    WHERE delivered_at IS NULL AND given_up_at IS NULL;

-- Rejected objects, for the alert about them; few of many.
CREATE INDEX ingestion_metadata_rejected ON bronze.ingestion_metadata (dataset, version) WHERE status = 'rejected';
