-- What is paused now.
SELECT to_json(pause)::text
FROM /* schema */riverbridge_pause AS pause
WHERE until IS NULL OR until > now()
ORDER BY what, name
