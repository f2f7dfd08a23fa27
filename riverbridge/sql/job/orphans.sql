-- Locks leases of processes that have stopped beating, to be settled as a spent attempt (T15, T16).
-- The lock makes two rescuers share the rows, and the fence of the settle makes a late owner harmless.
-- Batches whose receiver can be asked are left to whoever asks it: while a process is at it, and else
-- for an hour, as long as River's own rescuer leaves them.
SELECT /* include job/claimed */,
       attempted_at, attempted_by[array_length(attempted_by, 1)] AS owner,
       jsonb_typeof(metadata) = 'object' AND metadata ? 'cancel_attempted_at' AS cancel_marked,
       CASE WHEN jsonb_typeof(metadata -> 'river:rescue_count') = 'number'
            THEN least((metadata ->> 'river:rescue_count')::numeric, 1000000000)::bigint
            ELSE 0 END AS rescues
FROM /* schema */river_job
WHERE state = 'running'
  AND queue = ANY (%(queues)b::text[])
  AND attempted_at <= now() - make_interval(secs => %(age)s::float8)
  AND attempted_by[array_length(attempted_by, 1)] = ANY (%(owners)b::text[])
  AND id <> ALL (%(held)b::bigint[])
  AND NOT EXISTS (
      SELECT FROM /* schema */riverbridge_slot AS slot
      WHERE slot.leased_by = attempted_by[array_length(attempted_by, 1)]
        AND slot.leased_at = attempted_at
        AND (
            slot.leased_at > now() - interval '1 hour'
            OR EXISTS (
                SELECT FROM /* schema */riverbridge_process AS process
                WHERE process.id = slot.owner AND process.heartbeat_at > now() - interval '1 minute'
            )
        )
  )
ORDER BY id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
