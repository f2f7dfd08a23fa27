-- The sources that have positions or events in quarantine: how long ago the partition that moved last
-- and the one that has stood still for longest were moved, and how many events lie in quarantine,
-- counted up to a limit.
WITH RECURSIVE named (source) AS (
    (SELECT source FROM /* schema */riverbridge_quarantine ORDER BY source LIMIT 1)
    UNION ALL
    SELECT (SELECT source FROM /* schema */riverbridge_quarantine
            WHERE source > named.source ORDER BY source LIMIT 1)
    FROM named
    WHERE named.source IS NOT NULL
),
held AS (
    SELECT named.source, (
        SELECT count(*)
        FROM (
            SELECT
            FROM /* schema */riverbridge_quarantine AS event
            WHERE event.source = named.source
            LIMIT %(limit)s::bigint
        ) AS few
    ) AS events
    FROM named
    WHERE named.source IS NOT NULL
),
moved AS (
    SELECT source, count(*) AS partitions, max(updated_at) AS last, min(updated_at) AS first
    FROM /* schema */riverbridge_position
    GROUP BY source
)
SELECT source,
       coalesce(moved.partitions, 0),
       extract(epoch FROM now() - moved.last)::float8,
       extract(epoch FROM now() - moved.first)::float8,
       coalesce(held.events, 0)
FROM moved
FULL JOIN held USING (source)
ORDER BY source
LIMIT 1000
