-- Who serves a route whose jobs keep their order: one process at a time, as long as it is seen.
ALTER TABLE /* schema */riverbridge_route
    ADD COLUMN owner text,
    ADD COLUMN term bigint NOT NULL DEFAULT 0,
    ADD COLUMN seen_at timestamptz;
