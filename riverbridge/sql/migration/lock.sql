-- One migrator at a time in a database, whatever its schema and line. The number is ours alone.
SELECT pg_advisory_xact_lock(7310033562541327730)
