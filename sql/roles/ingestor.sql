-- What the ingestor may do: enter objects into the ledger, record polls, and announce again what is unfinished.

GRANT USAGE ON SCHEMA bronze, silver, gold TO medallion_ingestor;
GRANT SELECT, INSERT, UPDATE, DELETE ON bronze.ingestion_metadata TO medallion_ingestor;
GRANT SELECT, INSERT ON bronze.polls TO medallion_ingestor;
GRANT SELECT, INSERT, UPDATE ON bronze.workers TO medallion_ingestor;
GRANT SELECT ON bronze.dead_letters TO medallion_ingestor;  -- the backlog in its metrics
GRANT SELECT, UPDATE (announced_at) ON silver.change_sets TO medallion_ingestor;
GRANT SELECT ON gold.pending TO medallion_ingestor;
GRANT SELECT ON bronze.stops, silver.expectations, silver.datasets TO medallion_ingestor;  -- what alerts are about
GRANT SELECT, INSERT, UPDATE ON bronze.alerts, bronze.alert_messages, bronze.alert_deliveries TO medallion_ingestor;
