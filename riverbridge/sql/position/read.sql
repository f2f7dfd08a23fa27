SELECT partition, position FROM /* schema */riverbridge_position WHERE source = %(source)s
