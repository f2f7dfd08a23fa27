-- The durable periodic jobs: when each runs next, and by which schedule that was found.
CREATE TABLE /* schema */riverbridge_periodic_job (
    id text PRIMARY KEY,
    schedule text NOT NULL,
    next_run_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT id_length CHECK (char_length(id) > 0 AND char_length(id) < 128),
    CONSTRAINT next_run_at_is_in_the_calendar CHECK (
        next_run_at BETWEEN '0001-01-01 00:00:00Z' AND '9999-12-31 23:59:59.999999Z'
    )
);
