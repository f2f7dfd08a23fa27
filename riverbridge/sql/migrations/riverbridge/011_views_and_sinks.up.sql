-- Searches for jobs that somebody has saved under a name, for all who use the console: what is written
-- in the search, the state and the order chosen beside it. owner: who saved it, for people.
CREATE TABLE /* schema */riverbridge_view (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    search text NOT NULL,
    job_state text NOT NULL,
    sort text NOT NULL,
    owner text NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT name_length CHECK (char_length(name) > 0 AND char_length(name) <= 60),
    CONSTRAINT search_length CHECK (char_length(search) <= 2000)
);

-- The history of sinks, beside that of queues and kinds: what those who deliver have counted.
ALTER TABLE /* schema */riverbridge_history
    DROP CONSTRAINT facet_is_known,
    ADD CONSTRAINT facet_is_known CHECK (facet IN ('all', 'queue', 'kind', 'sink'));
