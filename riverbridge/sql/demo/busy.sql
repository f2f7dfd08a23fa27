-- Whether a bridge process may have jobs out: a transaction of a lane is open, or leases are.
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE application_name LIKE %(owner)s AND backend_xid IS NOT NULL
) OR EXISTS (
    SELECT FROM /* schema */river_job
    WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] LIKE %(owner)s
)
