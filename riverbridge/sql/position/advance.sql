-- Moves on from the positions that were expected. Fewer rows than partitions: another has moved one
-- of them, and nothing of this transaction may be committed. Rows are locked in one order, so that two
-- who believe that they own the same partitions wait for each other and do not block each other.
WITH wanted AS (
    SELECT partition, expected, after
    FROM unnest(%(partitions)b::text[], %(expected)b::text[], %(after)b::text[])
         AS given (partition, expected, after)
), locked AS (
    SELECT partition
    FROM /* schema */riverbridge_position
    WHERE source = %(source)s AND partition = ANY (%(partitions)b::text[])
    ORDER BY partition
    FOR UPDATE
)
UPDATE /* schema */riverbridge_position AS stored
SET position = wanted.after, updated_at = now()
FROM locked JOIN wanted USING (partition)
WHERE stored.source = %(source)s
  AND stored.partition = locked.partition
  AND stored.position = wanted.expected
