-- One more view, unless its name is taken or there are as many as may be. Two that are saved at once
-- do not see each other: the limit may be passed by as many.
WITH made AS (
    INSERT INTO /* schema */riverbridge_view AS kept (name, search, job_state, sort, owner)
    SELECT %(name)s::text, %(search)s::text, %(job_state)s::text, %(sort)s::text, %(owner)s::text
    WHERE (SELECT count(*) FROM /* schema */riverbridge_view) < %(most)s::bigint
    ON CONFLICT (name) DO NOTHING
    RETURNING to_json(kept)::text AS whole
)
SELECT (SELECT whole FROM made), (SELECT count(*) FROM /* schema */riverbridge_view)
