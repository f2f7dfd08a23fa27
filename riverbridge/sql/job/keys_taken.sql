-- How many of these unique keys are taken (contract 4.8); in the words of the index, to be read by it.
SELECT count(*)
FROM /* schema */river_job
WHERE unique_key = any(%(keys)b::bytea[])
  AND unique_key IS NOT NULL AND unique_states IS NOT NULL
  AND /* schema */river_job_state_in_bitmask(unique_states, state)
