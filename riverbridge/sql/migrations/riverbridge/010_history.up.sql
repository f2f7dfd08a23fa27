-- What became of jobs, by stretches of time: of all, of each queue and of each kind. An instant begins
-- a stretch of `step` seconds. wait and run count jobs by how long they waited and ran; their bounds
-- are the program's.
CREATE TABLE /* schema */riverbridge_history (
    step integer NOT NULL,
    at timestamptz NOT NULL,
    facet text NOT NULL,
    name text NOT NULL,
    inserted bigint NOT NULL DEFAULT 0,
    completed bigint NOT NULL DEFAULT 0,
    cancelled bigint NOT NULL DEFAULT 0,
    discarded bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    wait bigint[] NOT NULL DEFAULT '{}',
    run bigint[] NOT NULL DEFAULT '{}',
    available bigint,
    oldest float8,
    PRIMARY KEY (step, at, facet, name),
    CONSTRAINT facet_is_known CHECK (facet IN ('all', 'queue', 'kind'))
);

-- How far the history is written: finished jobs up to an instant, inserted ones up to an id. seen_id
-- was the highest at the last look, from when on ids below it have had time to be committed.
CREATE TABLE /* schema */riverbridge_history_mark (
    only_one boolean PRIMARY KEY DEFAULT true,
    until timestamptz NOT NULL,
    last_id bigint NOT NULL,
    seen_id bigint NOT NULL,
    CONSTRAINT there_is_only_one CHECK (only_one)
);
