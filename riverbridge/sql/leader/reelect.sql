UPDATE /* schema */river_leader
SET expires_at = now() + %(ttl)s::interval
WHERE
    leader_id = %(leader_id)s::text
    AND elected_at = %(elected_at)s::timestamptz
    AND expires_at >= now()
RETURNING leader_id, elected_at, expires_at
