INSERT INTO /* schema */river_migration (line, version) VALUES (%(line)s, %(version)s)
