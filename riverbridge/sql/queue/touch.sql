-- What River does for an update that changes nothing.
UPDATE /* schema */river_queue AS queue
SET updated_at = now()
WHERE queue.name = %(name)s::text
RETURNING to_json(queue)::text
