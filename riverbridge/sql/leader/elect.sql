-- One statement for River's two (drop an expired row, insert if there is none): the row is taken
-- over in place, and the condition is judged again on the row's latest version if someone else was
-- quicker.
INSERT INTO /* schema */river_leader AS seat (leader_id, elected_at, expires_at)
VALUES (%(leader_id)s::text, now(), now() + %(ttl)s::interval)
ON CONFLICT (name) DO UPDATE
SET
    leader_id = excluded.leader_id,
    elected_at = excluded.elected_at,
    expires_at = excluded.expires_at
WHERE seat.expires_at < now()
RETURNING leader_id, elected_at, expires_at
