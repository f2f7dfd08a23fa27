-- Takes slots of a sink over: all of processes that are silent or gone, as their batches are to be
-- settled, and so many of those that are nobody's.
UPDATE /* schema */riverbridge_slot AS slot
SET owner = %(owner)s
WHERE id IN (
    SELECT candidate.id
    FROM /* schema */riverbridge_slot AS candidate
    WHERE candidate.sink = %(sink)s
      AND candidate.id <> ALL (%(held)b::text[])
      AND (
          candidate.owner = %(owner)s
          OR candidate.owner IS NOT NULL AND NOT EXISTS (
              SELECT FROM /* schema */riverbridge_process AS process
              WHERE process.id = candidate.owner
                AND process.heartbeat_at >= now() - make_interval(secs => %(silence)s::float8)
          )
          OR candidate.id IN (
              SELECT free.id
              FROM /* schema */riverbridge_slot AS free
              WHERE free.sink = %(sink)s AND free.owner IS NULL
              ORDER BY free.id
              LIMIT %(wanted)s::int
              FOR UPDATE SKIP LOCKED
          )
      )
    FOR UPDATE SKIP LOCKED
)
RETURNING id, number, known, leased_by, leased_at, alone, jobs
