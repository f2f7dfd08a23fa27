-- What the planner expects: from its statistics of the table, so it costs nothing and is about right.
EXPLAIN (FORMAT JSON)
SELECT
FROM /* schema */river_job AS job
WHERE job.state = %(state)s::text::/* schema */river_job_state
  AND job.queue = %(queue)s::text
