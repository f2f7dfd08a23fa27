-- All that a test may have left in a schema of its own, which the clock's table is in.
TRUNCATE
    /* schema */river_job,
    /* schema */river_leader,
    /* schema */river_queue,
    /* schema */riverbridge_periodic_job,
    /* schema */riverbridge_process,
    /* schema */riverbridge_route
RESTART IDENTITY
