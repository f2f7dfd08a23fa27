-- In seconds: what an interval calls a day may have 23 hours.
UPDATE /* schema */riverbridge_clock
SET ahead = make_interval(
    secs => extract(epoch FROM %(instant)s::timestamptz - pg_catalog.now())::float8
)
