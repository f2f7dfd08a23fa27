SELECT version FROM /* schema */river_migration ORDER BY version
