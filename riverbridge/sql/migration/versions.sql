SELECT version FROM /* schema */river_migration WHERE line = %(line)s ORDER BY version
