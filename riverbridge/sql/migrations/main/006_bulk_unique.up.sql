-- Whether a job in this state takes part in uniqueness. get_bit counts from the left, so
-- 'available' is the rightmost bit.
CREATE OR REPLACE FUNCTION /* schema */river_job_state_in_bitmask(
    bitmask bit(8), state /* schema */river_job_state
) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE state
        WHEN 'scheduled' THEN get_bit(bitmask, 0) = 1
        WHEN 'running' THEN get_bit(bitmask, 1) = 1
        WHEN 'retryable' THEN get_bit(bitmask, 2) = 1
        WHEN 'pending' THEN get_bit(bitmask, 3) = 1
        WHEN 'discarded' THEN get_bit(bitmask, 4) = 1
        WHEN 'completed' THEN get_bit(bitmask, 5) = 1
        WHEN 'cancelled' THEN get_bit(bitmask, 6) = 1
        WHEN 'available' THEN get_bit(bitmask, 7) = 1
        ELSE false
    END
$$;

ALTER TABLE /* schema */river_job ADD COLUMN IF NOT EXISTS unique_states bit(8);

-- On a large table it may be built beforehand with CREATE INDEX CONCURRENTLY.
CREATE UNIQUE INDEX IF NOT EXISTS river_job_unique_idx ON /* schema */river_job (unique_key)
WHERE unique_key IS NOT NULL
    AND unique_states IS NOT NULL
    AND /* schema */river_job_state_in_bitmask(unique_states, state);

DROP INDEX IF EXISTS /* schema */river_job_kind_unique_key_idx;
