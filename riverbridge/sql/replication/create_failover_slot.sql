-- Postgres 17 and later: standbys keep a copy, so that it is there after a failover.
SELECT pg_create_logical_replication_slot(%(slot)s, 'pgoutput', failover => true)
