-- Adds to what is there of the same stretch; of the backlog, which is no sum, the most it was.
INSERT INTO /* schema */riverbridge_history AS history (
    step, at, facet, name, inserted, completed, cancelled, discarded, failed, wait, run,
    available, oldest
)
SELECT step, at, facet, name, inserted, completed, cancelled, discarded, failed, wait, run,
       available, oldest
FROM json_to_recordset(%(rows)s::text::json) AS given (
    step integer, at timestamptz, facet text, name text, inserted bigint, completed bigint,
    cancelled bigint, discarded bigint, failed bigint, wait bigint[], run bigint[],
    available bigint, oldest float8
)
ON CONFLICT (step, at, facet, name) DO UPDATE
SET inserted = history.inserted + excluded.inserted,
    completed = history.completed + excluded.completed,
    cancelled = history.cancelled + excluded.cancelled,
    discarded = history.discarded + excluded.discarded,
    failed = history.failed + excluded.failed,
    wait = ARRAY(
        SELECT coalesce(one, 0) + coalesce(other, 0)
        FROM unnest(history.wait, excluded.wait) WITH ORDINALITY AS both_of (one, other, place)
        ORDER BY place
    ),
    run = ARRAY(
        SELECT coalesce(one, 0) + coalesce(other, 0)
        FROM unnest(history.run, excluded.run) WITH ORDINALITY AS both_of (one, other, place)
        ORDER BY place
    ),
    available = greatest(history.available, excluded.available),
    oldest = greatest(history.oldest, excluded.oldest)
