-- Puts other metadata in place of a queue's (contract 3.12).
UPDATE /* schema */river_queue AS queue
SET metadata = %(metadata)s::text::jsonb,
    updated_at = now()
WHERE queue.name = %(name)s::text
RETURNING to_json(queue)::text
