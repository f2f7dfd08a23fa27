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
