-- The history begins now: of what was before, nothing is counted.
INSERT INTO /* schema */riverbridge_history_mark (until, last_id, seen_id)
SELECT date_trunc('second', now()), newest.id, newest.id
FROM (SELECT coalesce(max(id), 0) AS id FROM /* schema */river_job) AS newest
ON CONFLICT DO NOTHING
