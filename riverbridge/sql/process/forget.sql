-- Forgets processes: one that stops cleanly, crashes that a start has answered, and those that no
-- start has answered for a day. A record whose process still holds leases stays, also over a weekend:
-- by it alone they are found.
DELETE FROM /* schema */riverbridge_process AS process
WHERE (id = ANY (%(ids)b::text[]) OR heartbeat_at < now() - interval '1 day')
  AND NOT EXISTS (
      SELECT FROM /* schema */river_job AS job
      WHERE job.state = 'running'
        AND job.queue = ANY (process.queues)
        AND job.attempted_by[array_length(job.attempted_by, 1)] = process.id
  )
RETURNING id
