-- Settles locked rows that were all delivered: what River's fetch and completion leave together
-- (transitions T4 and T5), in one row version. now() is the claim, as the claim began the transaction.
UPDATE /* schema */river_job AS job
SET state = 'completed',
    attempt = least(job.attempt + 1, 32767),
    attempted_at = now(),
    attempted_by = CASE WHEN array_length(job.attempted_by, 1) >= 100
                        THEN array_append(job.attempted_by[array_length(job.attempted_by, 1) - 98:], %(client)s::text)
                        ELSE array_append(job.attempted_by, %(client)s::text) END,
    finalized_at = statement_timestamp()
WHERE id = ANY (%(ids)b::bigint[])
