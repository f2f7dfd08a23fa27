-- How far a test's clock is ahead of the server's: one row.
CREATE TABLE IF NOT EXISTS /* schema */riverbridge_clock AS SELECT interval '0' AS ahead
