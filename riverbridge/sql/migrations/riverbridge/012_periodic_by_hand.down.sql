ALTER TABLE /* schema */riverbridge_periodic_job
    DROP COLUMN asked_at,
    DROP COLUMN paused_at;
