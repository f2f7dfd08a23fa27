-- The open transactions that may have inserted jobs: an INSERT locks its table before it takes an id,
-- and to the end of its transaction.
SELECT virtualtransaction
FROM pg_locks
WHERE locktype = 'relation'
  AND mode = 'RowExclusiveLock'
  AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND relation = to_regclass(concat(quote_ident(%(schema)s::text) || '.', 'river_job'))
