COPY /* schema */river_job (kind, args, max_attempts, priority, queue, state, scheduled_at, tags, metadata) FROM STDIN
