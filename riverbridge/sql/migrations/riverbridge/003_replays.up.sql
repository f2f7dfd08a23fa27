-- Replays: which finished jobs are delivered once more, and how far that has come. The jobs of a batch
-- and after_id move in one transaction, so that a replay can be stopped anywhere and gone on with.
CREATE TABLE /* schema */riverbridge_replay (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state text NOT NULL DEFAULT 'open',
    plan jsonb NOT NULL,
    rate float8,
    started_by text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    after_id bigint NOT NULL,
    last_id bigint NOT NULL,
    total bigint NOT NULL,
    done bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    runner text,
    beat_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT state_is_known CHECK (state IN ('open', 'finished', 'cancelled')),
    CONSTRAINT ended_unless_open CHECK ((ended_at IS NULL) = (state = 'open')),
    CONSTRAINT rate_is_positive CHECK (rate > 0)
);
