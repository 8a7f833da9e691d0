-- Rows that refer to a key no object of the other dataset has held yet: they wait in quarantine for their parent.

CREATE TABLE silver.orphans (
    object_id   uuid NOT NULL REFERENCES bronze.ingestion_metadata,
    line_number bigint NOT NULL,
    rule        text NOT NULL,
    parent      text NOT NULL,                       -- the dataset that lacks the key
    parent_key  text NOT NULL,
    key_hash    uuid NOT NULL,                       -- the key's, as the parent's clean table and key facts have it
    PRIMARY KEY (object_id, line_number, rule)
);
CREATE INDEX orphans_by_parent ON silver.orphans (parent, key_hash);
