-- What keeps the vacuum from removing dead rows: the oldest transactions and replication slots.
SELECT kind, name, seconds, what
FROM (
    SELECT 'transaction' AS kind,
           concat_ws(' ', nullif(application_name, ''), 'pid ' || pid) AS name,
           extract(epoch FROM now() - xact_start)::float8 AS seconds,
           state AS what
    FROM pg_stat_activity
    WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
    UNION ALL
    SELECT 'replication slot', slot_name,
           NULL,
           concat_ws(', ', CASE WHEN active THEN 'active' ELSE 'inactive' END, wal_status)
    FROM pg_replication_slots
    WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL
) AS held
ORDER BY seconds DESC NULLS LAST
LIMIT 10
