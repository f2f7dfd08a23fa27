SELECT leader_id, elected_at, expires_at
FROM /* schema */river_leader
WHERE name = 'default'
