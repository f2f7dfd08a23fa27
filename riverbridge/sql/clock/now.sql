-- Found before the server's own by statements of sessions that `follow` the clock.
CREATE OR REPLACE FUNCTION /* schema */now() RETURNS timestamptz STABLE
RETURN pg_catalog.now() + (SELECT ahead FROM /* schema */riverbridge_clock)
