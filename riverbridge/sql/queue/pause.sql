-- Pauses a queue, or all for '*'; one that is paused already keeps its instants (contract 3.12).
UPDATE /* schema */river_queue AS queue
SET paused_at = coalesce(queue.paused_at, now()),
    updated_at = CASE WHEN queue.paused_at IS NULL THEN now() ELSE queue.updated_at END
WHERE %(name)s::text IN (queue.name, '*')
RETURNING queue.name
