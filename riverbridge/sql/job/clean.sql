-- One short walk of the (state, finalized_at) index per state, whatever else the table holds.
-- The row lock has the condition judged again, so a job that was just retried is not deleted.
WITH old AS MATERIALIZED (
    SELECT found.id
    FROM unnest(%(states)b::text[], %(keep)b::interval[]) AS rule (state, keep)
    CROSS JOIN LATERAL (
        SELECT job.id
        FROM /* schema */river_job AS job
        WHERE
            job.state = rule.state::/* schema */river_job_state
            AND job.finalized_at < now() - rule.keep
        ORDER BY job.finalized_at
        LIMIT %(limit)s::bigint
        FOR UPDATE SKIP LOCKED
    ) AS found
    LIMIT %(limit)s::bigint
)
-- An array, not a join: the planner expects as many rows as the limit allows, and for those it
-- would read the whole table, even when only one is old.
DELETE FROM /* schema */river_job
WHERE id = ANY(ARRAY(SELECT id FROM old))
