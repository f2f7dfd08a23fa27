-- How far a source was read: what lies before has become jobs, or lies in quarantine.
CREATE TABLE /* schema */riverbridge_position (
    source text NOT NULL,
    partition text NOT NULL,
    position text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, partition),
    CONSTRAINT source_length CHECK (char_length(source) > 0 AND char_length(source) < 128)
);

-- The events that were taken in, so that one that comes again makes no second job, even where the
-- first was deleted. The digest is also the unique key of the job.
CREATE TABLE /* schema */riverbridge_inbox (
    digest bytea PRIMARY KEY,
    source text NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT digest_length CHECK (octet_length(digest) = 32)
);
CREATE INDEX riverbridge_inbox_expires_at ON /* schema */riverbridge_inbox (expires_at);

-- The events that could not become jobs, as they came. headers: JSON, pairs of a name and base64.
CREATE TABLE /* schema */riverbridge_quarantine (
    id bigserial PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    source text NOT NULL,
    event_id text NOT NULL,
    topic text NOT NULL,
    partition text,
    position text,
    event_at timestamptz,
    key bytea,
    headers bytea NOT NULL,
    body bytea,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT digest_length CHECK (octet_length(digest) = 32)
);
CREATE INDEX riverbridge_quarantine_source_id ON /* schema */riverbridge_quarantine (source, id);
