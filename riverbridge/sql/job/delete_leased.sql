-- Deletes delivered leases that are still ours, behind the fence of settle_leased.sql. As in
-- delete.sql, a unique job whose mask holds `completed` stays, to be completed.
DELETE FROM /* schema */river_job AS job
USING unnest(%(ids)b::bigint[], %(owners)b::text[], %(claimed_at)b::timestamptz[], %(leased)b::int[])
     AS lease (id, owner, claimed_at, attempt)
WHERE job.id = lease.id
  AND job.state = 'running'
  AND job.attempt = lease.attempt
  AND job.attempted_at = lease.claimed_at
  AND job.attempted_by[array_length(job.attempted_by, 1)] = lease.owner
  AND (job.unique_key IS NULL OR job.unique_states IS NULL
       OR NOT /* schema */river_job_state_in_bitmask(job.unique_states, 'completed'))
RETURNING job.id
