DELETE FROM /* schema */riverbridge_process
WHERE id = ANY (%(ids)b::text[])
