DELETE FROM /* schema */riverbridge_quarantine
WHERE id = ANY (%(ids)b::bigint[])
RETURNING id, source, event_id, left(reason, 300)
