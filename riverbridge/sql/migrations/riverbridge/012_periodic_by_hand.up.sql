-- What people ask of a durable periodic job: to make no runs from then on, and to run once at once.
ALTER TABLE /* schema */riverbridge_periodic_job
    ADD COLUMN paused_at timestamptz,
    ADD COLUMN asked_at timestamptz;
