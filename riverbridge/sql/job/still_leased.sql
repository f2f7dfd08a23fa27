-- Which leases are still ours, by the fence of settle_leased.sql: one that is, and yet was not settled,
-- was kept from it by a trigger.
SELECT job.id
FROM /* schema */river_job AS job
JOIN unnest(%(ids)b::bigint[], %(owners)b::text[], %(claimed_at)b::timestamptz[], %(leased)b::int[])
     AS lease (id, owner, claimed_at, leased) ON job.id = lease.id
WHERE job.state = 'running'
  AND job.attempt = lease.leased
  AND job.attempted_at = lease.claimed_at
  AND job.attempted_by[array_length(job.attempted_by, 1)] = lease.owner
