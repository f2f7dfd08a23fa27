-- One step of the history, for as long as it is kept: of as many queues and kinds as are told apart.
INSERT INTO riverbridge_history (
    step, at, facet, name, inserted, completed, cancelled, discarded, failed, wait, run, available,
    oldest
)
SELECT %(step)s::int, at, facet, name, 7 * %(step)s, 7 * %(step)s, %(step)s / 60, %(step)s / 60,
       %(step)s, histogram, histogram, 3, 4
FROM (
    SELECT array_agg(n * 10)::bigint[] FROM generate_series(0, %(places)s::int) AS n
) AS one (histogram)
CROSS JOIN (
    SELECT 'all' AS facet, '' AS name
    UNION ALL SELECT 'queue', 'queue_' || n FROM generate_series(0, 199) AS n
    UNION ALL SELECT 'kind', 'kind_' || n FROM generate_series(0, 199) AS n
) AS named
CROSS JOIN generate_series(
    date_bin(
        make_interval(secs => %(step)s::int),
        now() - make_interval(secs => %(keep)s::float8), '2000-01-01Z'
    ),
    now(),
    make_interval(secs => %(step)s::int)
) AS at
