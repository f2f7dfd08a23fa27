-- As insert.sql, for jobs of which some are unique (contract 3.1): where the key is taken, the row
-- that holds it comes back and `true` beside it. As in River, that row is locked and gets the new
-- job's kind. A key may be given once only.
WITH /* include job/announced */
/* include job/insert_keyed */
    DO UPDATE SET kind = excluded.kind
RETURNING to_json(job)::text, job.xmax <> 0
