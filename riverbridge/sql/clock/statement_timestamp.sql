CREATE OR REPLACE FUNCTION /* schema */statement_timestamp() RETURNS timestamptz STABLE
RETURN pg_catalog.statement_timestamp() + (SELECT ahead FROM /* schema */riverbridge_clock)
