-- Processes that have not been heard of for a while, by the database's clock.
SELECT id, queues
FROM /* schema */riverbridge_process
WHERE heartbeat_at < now() - make_interval(secs => %(silence)s::float8)
  AND id <> %(id)s
