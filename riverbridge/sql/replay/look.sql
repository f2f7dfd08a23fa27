-- The next jobs by id that match, and the id up to which was looked, null at the end. However few
-- match, no more than so many rows are read; the route is a value and not a join, so that they are
-- read in order and only until the limit.
SELECT
    ARRAY(
        SELECT job.id
        FROM (
            SELECT *
            FROM /* schema */river_job
            WHERE id > %(after_id)s::bigint
              AND id <= %(last_id)s::bigint
              AND (%(ids)b::bigint[] IS NULL OR id = ANY (%(ids)b::bigint[]))
            ORDER BY id
            LIMIT %(walk)s::bigint
        ) AS job
        WHERE
            /* include replay/matching */
            AND /* include replay/route */ IS NOT NULL
        ORDER BY job.id
        LIMIT %(limit)s::bigint
    ),
    (
        SELECT id
        FROM /* schema */river_job
        WHERE id > %(after_id)s::bigint
          AND id <= %(last_id)s::bigint
          AND (%(ids)b::bigint[] IS NULL OR id = ANY (%(ids)b::bigint[]))
        ORDER BY id
        OFFSET %(walk)s::bigint - 1
        LIMIT 1
    )
