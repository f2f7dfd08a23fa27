-- Where another process has said so before, its word stands: read the rows afterwards.
INSERT INTO /* schema */riverbridge_position (source, partition, position)
SELECT %(source)s, partition, position
FROM unnest(%(partitions)b::text[], %(positions)b::text[]) AS given (partition, position)
ON CONFLICT (source, partition) DO NOTHING
