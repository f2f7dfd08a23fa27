-- Which sink confirmed which job, where the user wants it kept. Not bound to the job's row: a receipt
-- may outlive it.
CREATE TABLE /* schema */riverbridge_receipt (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id bigint NOT NULL,
    sink text NOT NULL,
    attempt smallint NOT NULL,
    receipt text,
    at timestamptz NOT NULL DEFAULT statement_timestamp()
);

CREATE INDEX riverbridge_receipt_job_id ON /* schema */riverbridge_receipt (job_id);
