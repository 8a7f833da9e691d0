#!/bin/sh
# Run once, by PostgreSQL's image, when it makes the cluster: the role that owns the pipeline's tables. It makes the
# services' roles (`medallion migrate`) and is no superuser; nobody else may enter the database unless granted.
set -eu
psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc -U "$POSTGRES_USER" -d "$POSTGRES_DB" -v password="$OWNER_PASSWORD" <<'SQL'
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
CREATE ROLE medallion LOGIN CREATEROLE PASSWORD :'password';
ALTER DATABASE medallion OWNER TO medallion;
REVOKE ALL ON DATABASE medallion FROM PUBLIC;
SQL
