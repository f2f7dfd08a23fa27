SELECT source, partition, position, to_json(updated_at) #>> '{}'
FROM /* schema */riverbridge_position
ORDER BY source, partition
LIMIT %(limit)s::int
