-- The jobs a bridge process has claimed and not settled: those whose row it keeps locked, found by
-- trying to lock them, and its leases. Exact only while nothing else moves; roll back after it.
SELECT (
    SELECT count(*) FROM /* schema */river_job WHERE queue = %(queue)s AND state = 'available'
) - (
    SELECT count(*)
    FROM (
        SELECT id FROM /* schema */river_job
        WHERE queue = %(queue)s AND state = 'available'
        FOR UPDATE SKIP LOCKED
    ) AS free
) + (
    SELECT count(*) FROM /* schema */river_job
    WHERE queue = %(queue)s AND state = 'running'
      AND attempted_by[array_upper(attempted_by, 1)] LIKE %(owner)s
)
