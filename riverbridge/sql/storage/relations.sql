-- River's tables and ours with their indexes: size, rows, what the vacuum has left to do, and when it
-- last came.
SELECT relation.relname,
       parent.relname,
       pg_relation_size(relation.oid) + coalesce(pg_relation_size(nullif(relation.reltoastrelid, 0)), 0),
       greatest(relation.reltuples, 0)::bigint,
       used.n_live_tup,
       used.n_dead_tup,
       greatest(used.last_vacuum, used.last_autovacuum),
       greatest(used.last_analyze, used.last_autoanalyze),
       scanned.idx_scan,
       index.indisvalid
FROM pg_class AS relation
LEFT JOIN pg_index AS index ON index.indexrelid = relation.oid
LEFT JOIN pg_class AS parent ON parent.oid = index.indrelid
LEFT JOIN pg_stat_all_tables AS used ON used.relid = relation.oid
LEFT JOIN pg_stat_all_indexes AS scanned ON scanned.indexrelid = relation.oid
WHERE relation.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = '/* schema */river_job'::regclass)
  AND relation.relkind IN ('r', 'i')
  AND (coalesce(parent.relname, relation.relname) LIKE 'river\_%%'
       OR coalesce(parent.relname, relation.relname) LIKE 'riverbridge\_%%')
ORDER BY 3 DESC
