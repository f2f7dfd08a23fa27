-- When the planner's statistics of the jobs were made; null if never.
SELECT greatest(last_analyze, last_autoanalyze)
FROM pg_catalog.pg_stat_all_tables
WHERE relid = to_regclass('/* schema */river_job')
