CREATE OR REPLACE FUNCTION /* schema */clock_timestamp() RETURNS timestamptz VOLATILE
RETURN pg_catalog.clock_timestamp() + (SELECT ahead FROM /* schema */riverbridge_clock)
