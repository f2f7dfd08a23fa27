INSERT INTO orders (customer_id, amount)
SELECT customer_id, cents / 100.0
FROM unnest(%(customers)b::text[], %(cents)b::bigint[]) AS placed (customer_id, cents)
RETURNING id, customer_id, amount::text
