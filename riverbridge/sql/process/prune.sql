-- Forgets crashes that no start has answered for a day.
DELETE FROM /* schema */riverbridge_process
WHERE heartbeat_at < now() - interval '1 day'
