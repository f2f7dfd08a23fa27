-- How many jobs there are of each state: counted up to a limit, beyond it what the planner knows, or
-- nothing where it knows nothing yet.
WITH table_size AS (
    SELECT greatest(reltuples, 0) AS rows
    FROM pg_class
    WHERE oid = '/* schema */river_job'::regclass
),
known AS (
    SELECT common.state, common.share
    FROM pg_stats
    CROSS JOIN LATERAL unnest(most_common_vals::text::text[], most_common_freqs)
        AS common (state, share)
    JOIN pg_class ON pg_class.oid = '/* schema */river_job'::regclass
        AND pg_class.relname = pg_stats.tablename
    JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
        AND pg_namespace.nspname = pg_stats.schemaname
    WHERE pg_stats.attname = 'state'
)
SELECT state::text,
       counted.jobs,
       (SELECT round(rows * share)::bigint FROM table_size, known WHERE known.state = each.state::text)
FROM unnest(enum_range(NULL::/* schema */river_job_state)) AS each (state)
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs
    FROM (
        SELECT FROM /* schema */river_job AS job
        WHERE job.state = each.state
        -- In the order of the index: a state that few have is not looked for in all of them.
        ORDER BY job.queue, job.priority, job.scheduled_at, job.id
        LIMIT %(limit)s::bigint + 1
    ) AS counted_rows
) AS counted
