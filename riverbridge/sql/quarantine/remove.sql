DELETE FROM /* schema */riverbridge_quarantine WHERE id = ANY (%(ids)b::bigint[])
