SELECT id FROM orders WHERE id = ANY (%(ids)b::bigint[])
