-- The jobs that were finished between two instants, by outcome and by how long they had waited and run;
-- one that was never attempted has done neither. And their attempts that failed so shortly before that
-- they were not seen (failed.sql) while they waited for the next one, and the one that was the last.
SELECT queue, kind, state::text,
       width_bucket(extract(epoch FROM attempted_at - scheduled_at)::float8, %(bounds)b::float8[]) AS wait,
       width_bucket(extract(epoch FROM finalized_at - attempted_at)::float8, %(bounds)b::float8[]) AS run,
       count(*),
       coalesce(sum(CASE WHEN errors IS NOT NULL THEN (
           SELECT count(*)
           FROM unnest(errors[greatest(cardinality(errors) - 4, 1):]) WITH ORDINALITY AS error (it, place)
           WHERE (error.it ->> 'at') COLLATE "C" >= to_char(
                     (finalized_at - %(unseen)s::interval) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
              OR (state = 'discarded' AND error.place = least(cardinality(errors), 5))
       ) END), 0)::bigint
FROM /* schema */river_job
WHERE state IN ('cancelled', 'completed', 'discarded')
  AND finalized_at >= %(since)s::timestamptz
  AND finalized_at < %(until)s::timestamptz
  AND isfinite(scheduled_at)
GROUP BY queue, kind, state, wait, run
