-- Who changed what by the console, written in the transaction of the change. role, way: what the
-- person was allowed and how they were known, then.
CREATE TABLE /* schema */riverbridge_audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL,
    role text NOT NULL,
    way text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    before jsonb,
    after jsonb
);

CREATE INDEX riverbridge_audit_subject ON /* schema */riverbridge_audit (subject, id);

-- What is being done to all jobs that match a search, in batches: how far that has come, and who does
-- it. key: the form it was started by, so that sending it twice starts it once. after: the place in the
-- list of jobs, as the search has it.
CREATE TABLE /* schema */riverbridge_operation (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    action text NOT NULL,
    search text NOT NULL,
    job_state text NOT NULL,
    state text NOT NULL DEFAULT 'open',
    started_by text NOT NULL,
    role text NOT NULL,
    way text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    total bigint NOT NULL,
    last_id bigint NOT NULL,
    after text NOT NULL DEFAULT '',
    done bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    error text,
    runner text,
    beat_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT action_is_known CHECK (action IN ('retry', 'cancel', 'delete')),
    CONSTRAINT state_is_known CHECK (state IN ('open', 'finished', 'cancelled', 'failed')),
    CONSTRAINT ended_unless_open CHECK ((ended_at IS NULL) = (state = 'open'))
);
