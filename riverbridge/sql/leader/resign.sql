-- The lock comes first, so that a term that was taken over meanwhile is neither announced as
-- resigned nor deleted.
WITH mine AS MATERIALIZED (
    SELECT name, leader_id
    FROM /* schema */river_leader
    WHERE
        leader_id = %(leader_id)s::text
        AND elected_at = %(elected_at)s::timestamptz
    FOR UPDATE
),
announced AS MATERIALIZED (
    SELECT
        name,
        pg_notify(
            concat(coalesce(%(schema)s::text, current_schema()), '.river_leadership'),
            json_build_object('leader_id', leader_id, 'action', 'resigned')::text
        )
    FROM mine
)
DELETE FROM /* schema */river_leader AS seat
USING announced
WHERE seat.name = announced.name
