-- The next rows after `cursor` by id, whosever they are; of them, those available to this route, those
-- before which ids are missing (not committed yet, or never), and the last. `place` counts them.
SELECT /* include job/claimed */, mine, missing, place
FROM (
    SELECT *,
           id - lag(id, 1, %(cursor)s::bigint) OVER by_id - 1 AS missing,
           row_number() OVER by_id AS place,
           lead(id) OVER by_id IS NULL AS last,
           state = 'available' AND /* include order/mine */ AS mine
    FROM (
        SELECT *
        FROM /* schema */river_job
        WHERE id > %(cursor)s::bigint
        ORDER BY id
        LIMIT %(limit)s
    ) AS job
    WINDOW by_id AS (ORDER BY id)
) AS job
WHERE mine OR missing > 0 OR last
ORDER BY id
