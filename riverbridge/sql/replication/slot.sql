SELECT plugin::text, database::text, confirmed_flush_lsn::text, wal_status,
       pg_current_wal_flush_lsn()::text,
       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint
FROM pg_replication_slots
WHERE slot_name = %(slot)s
