-- As insert.sql, for one job or for several that have the same options.
-- No join and no sort, so it takes the server no longer than COPY. Rows come in the order of the lines:
-- the one row of `announced` and the lines are each read from start to end.
WITH /* include job/announced */
/* include job/insert_alike */
RETURNING job.id, job.created_at AT TIME ZONE 'UTC'
