-- Settles leases: River's set-state (contract 3.4) behind a fence. Only a row that is still this very
-- attempt is touched: running, same attempt number, same owner last in attempted_by, same
-- attempted_at. `attempt` alone is no fence, as snoozes give numbers back.
UPDATE /* schema */river_job AS job
SET state = CASE WHEN outcome.state IN ('retryable', 'scheduled') AND job.metadata ? 'cancel_attempted_at'
                 THEN 'cancelled' ELSE outcome.state::/* schema */river_job_state END,
    attempt = CASE WHEN outcome.state IN ('retryable', 'scheduled') AND job.metadata ? 'cancel_attempted_at'
                   THEN job.attempt ELSE outcome.attempt END,
    errors = CASE WHEN outcome.error IS NULL THEN job.errors
                  ELSE array_append(job.errors, jsonb_build_object(
                      'at', (to_json(job.attempted_at AT TIME ZONE 'UTC') #>> '{}') || 'Z',
                      'attempt', job.attempt,
                      'error', outcome.error,
                      'trace', outcome.trace)) END,
    finalized_at = CASE WHEN outcome.state IN ('completed', 'discarded', 'cancelled')
                          OR (outcome.state IN ('retryable', 'scheduled') AND job.metadata ? 'cancel_attempted_at')
                        THEN statement_timestamp() END,
    metadata = CASE WHEN outcome.metadata IS NULL OR jsonb_typeof(job.metadata) <> 'object' THEN job.metadata
                    ELSE job.metadata || outcome.metadata::jsonb END,
    scheduled_at = CASE WHEN outcome.delay IS NULL
                          OR (outcome.state IN ('retryable', 'scheduled') AND job.metadata ? 'cancel_attempted_at')
                        THEN job.scheduled_at
                        ELSE statement_timestamp() + make_interval(secs => outcome.delay) END
FROM unnest(%(ids)b::bigint[], %(states)b::text[], %(errors)b::text[], %(delays)b::float8[],
            %(attempts)b::int[], %(metadata)b::text[], %(traces)b::text[],
            %(owners)b::text[], %(claimed_at)b::timestamptz[], %(leased)b::int[])
     AS outcome (id, state, error, delay, attempt, metadata, trace, owner, claimed_at, leased)
WHERE job.id = outcome.id
  AND job.state = 'running'
  AND job.attempt = outcome.leased
  AND job.attempted_at = outcome.claimed_at
  AND job.attempted_by[array_length(job.attempted_by, 1)] = outcome.owner
RETURNING job.id, job.state::text
