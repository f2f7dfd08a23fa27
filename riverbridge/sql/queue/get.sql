SELECT to_json(queue)::text
FROM /* schema */river_queue AS queue
WHERE queue.name = %(name)s::text
