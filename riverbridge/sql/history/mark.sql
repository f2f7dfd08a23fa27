-- How far the history is written, and what there is. Locked: one at a time goes on with it.
SELECT until, last_id, seen_id, now(), (SELECT coalesce(max(id), 0) FROM /* schema */river_job)
FROM /* schema */riverbridge_history_mark
FOR UPDATE SKIP LOCKED
