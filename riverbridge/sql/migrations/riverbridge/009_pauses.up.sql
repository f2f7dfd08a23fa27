-- Routes and sinks that somebody has paused, by the names of the settings: who, when and why.
CREATE TABLE /* schema */riverbridge_pause (
    what text NOT NULL,
    name text NOT NULL,
    paused_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    paused_by text NOT NULL,
    reason text,
    until timestamptz,
    PRIMARY KEY (what, name),
    CONSTRAINT what_known CHECK (what IN ('route', 'sink')),
    CONSTRAINT name_length CHECK (char_length(name) > 0 AND char_length(name) < 128),
    CONSTRAINT paused_by_length CHECK (char_length(paused_by) > 0 AND char_length(paused_by) < 256),
    CONSTRAINT reason_length CHECK (char_length(reason) > 0 AND char_length(reason) <= 1000)
);
