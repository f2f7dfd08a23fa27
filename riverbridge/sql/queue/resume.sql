-- Resumes a queue, or all for '*'; one that is not paused stays as it is (contract 3.12).
UPDATE /* schema */river_queue AS queue
SET paused_at = NULL,
    updated_at = CASE WHEN queue.paused_at IS NOT NULL THEN now() ELSE queue.updated_at END
WHERE %(name)s::text IN (queue.name, '*')
RETURNING queue.name
