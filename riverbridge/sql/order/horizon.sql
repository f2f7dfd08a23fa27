-- The highest id there is, and the oldest transaction that was open then: what became available later
-- was written by it or by a younger one.
SELECT coalesce((SELECT max(id) FROM /* schema */river_job), 0),
       pg_snapshot_xmin(pg_current_snapshot())::text::bigint
