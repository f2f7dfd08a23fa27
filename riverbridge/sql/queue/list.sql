SELECT to_json(queue)::text
FROM /* schema */river_queue AS queue
ORDER BY queue.name
LIMIT %(limit)s::int
