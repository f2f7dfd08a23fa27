-- Completes a leased job inside the transaction of its own function (contract 10, JobCompleteTx), if it
-- still is the attempt that the function was called for.
UPDATE /* schema */river_job AS job
SET state = 'completed',
    finalized_at = statement_timestamp(),
    metadata = CASE WHEN jsonb_typeof(job.metadata) = 'object'
                    THEN job.metadata || %(metadata)s::text::jsonb ELSE job.metadata END
WHERE job.id = %(id)s::bigint
  AND job.state = 'running'
  AND job.attempt = %(attempt)s::int
RETURNING to_json(job)::text
