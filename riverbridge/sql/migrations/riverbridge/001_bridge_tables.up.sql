-- The processes at work. A row left by a process that is gone tells the next start to be careful.
CREATE TABLE /* schema */riverbridge_process (
    id text PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    queues text[] NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT id_length CHECK (char_length(id) > 0 AND char_length(id) < 128),
    CONSTRAINT pid_is_positive CHECK (pid > 0)
);

-- When a route first ran: jobs that were older than its max_age by then are not delivered.
CREATE TABLE /* schema */riverbridge_route (
    name text PRIMARY KEY,
    first_started_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT name_length CHECK (char_length(name) > 0 AND char_length(name) < 128)
);
