-- The names under which batches are sent to receivers that can be asked later what arrived, such as a
-- Kafka transactional.id: whose each is, and the last batch sent under it.
CREATE TABLE /* schema */riverbridge_slot (
    id text PRIMARY KEY,
    sink text NOT NULL,
    owner text,
    number bigint NOT NULL DEFAULT 0,
    known bigint NOT NULL DEFAULT 0,
    leased_by text,
    leased_at timestamptz,
    alone boolean NOT NULL DEFAULT false,
    jobs bigint[] NOT NULL DEFAULT '{}',
    CONSTRAINT id_length CHECK (char_length(id) > 0 AND char_length(id) < 256),
    CONSTRAINT sink_length CHECK (char_length(sink) > 0 AND char_length(sink) < 128)
);
