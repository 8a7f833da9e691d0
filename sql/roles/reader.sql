-- What people and BI tools may do: read silver and gold.

GRANT USAGE ON SCHEMA silver, gold TO medallion_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA silver, gold TO medallion_reader;
