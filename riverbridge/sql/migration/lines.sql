SELECT DISTINCT line FROM /* schema */river_migration ORDER BY line
