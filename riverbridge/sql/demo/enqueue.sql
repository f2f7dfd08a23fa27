-- One job for each order, in the transaction that places the orders.
INSERT INTO /* schema */river_job
    (args, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags)
SELECT args::jsonb, 'order.placed', 25, metadata::jsonb, 1, %(queue)s, now(), 'available', '{}'
FROM unnest(%(args)b::text[], %(metadata)b::text[]) AS job (args, metadata)
