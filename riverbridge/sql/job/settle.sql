-- Settles locked rows whatever became of them: River's fetch and its set-state (contract 3.4) in one
-- row version. `attempts` is the attempt's number, or one less where it is given back (a snooze). A
-- job marked by JobCancel that would come back later is cancelled instead (T24): error kept, attempt
-- spent, scheduled_at as it was.
UPDATE /* schema */river_job AS job
SET state = CASE WHEN outcome.state IN ('retryable', 'scheduled') AND job.metadata ? 'cancel_attempted_at'
                 THEN 'cancelled' ELSE outcome.state::/* schema */river_job_state END,
    attempt = CASE WHEN outcome.state IN ('retryable', 'scheduled') AND job.metadata ? 'cancel_attempted_at'
                   THEN least(job.attempt + 1, 32767) ELSE outcome.attempt END,
    errors = CASE WHEN outcome.error IS NULL THEN job.errors
                  ELSE array_append(job.errors, jsonb_build_object(
                      'at', (to_json(now() AT TIME ZONE 'UTC') #>> '{}') || 'Z',
                      'attempt', least(job.attempt + 1, 32767),
                      'error', outcome.error,
                      'trace', outcome.trace)) END,
    finalized_at = CASE WHEN outcome.state IN ('completed', 'discarded', 'cancelled')
                          OR (outcome.state IN ('retryable', 'scheduled') AND job.metadata ? 'cancel_attempted_at')
                        THEN statement_timestamp() - make_interval(secs => outcome.age) END,
    metadata = CASE WHEN outcome.metadata IS NULL OR jsonb_typeof(job.metadata) <> 'object' THEN job.metadata
                    ELSE job.metadata || outcome.metadata::jsonb END,
    scheduled_at = CASE WHEN outcome.delay IS NULL
                          OR (outcome.state IN ('retryable', 'scheduled') AND job.metadata ? 'cancel_attempted_at')
                        THEN job.scheduled_at
                        ELSE statement_timestamp() + make_interval(secs => outcome.delay) END,
    attempted_at = now(),
    attempted_by = CASE WHEN array_length(job.attempted_by, 1) >= 100
                        THEN array_append(job.attempted_by[array_length(job.attempted_by, 1) - 98:], %(client)s::text)
                        ELSE array_append(job.attempted_by, %(client)s::text) END
FROM unnest(%(ids)b::bigint[], %(states)b::text[], %(errors)b::text[], %(delays)b::float8[],
            %(attempts)b::int[], %(metadata)b::text[], %(traces)b::text[], %(ages)b::float8[])
     AS outcome (id, state, error, delay, attempt, metadata, trace, age)
WHERE job.id = outcome.id
RETURNING job.id, job.state::text
