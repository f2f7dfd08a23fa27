-- The view as it was; no row where there is none.
WITH before AS (
    SELECT * FROM /* schema */riverbridge_view WHERE id = %(id)s::bigint FOR UPDATE
)
UPDATE /* schema */riverbridge_view AS kept
SET name = %(name)s::text
FROM before
WHERE kept.id = before.id
RETURNING to_json(before)::text
