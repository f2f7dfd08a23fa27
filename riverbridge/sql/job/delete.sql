-- Settles delivered rows by deleting them. A unique job whose mask holds `completed` must stay, as
-- its row is what keeps the key taken; such rows are left to complete.sql.
DELETE FROM /* schema */river_job
WHERE id = ANY (%(ids)b::bigint[])
  AND (unique_key IS NULL OR unique_states IS NULL
       OR NOT /* schema */river_job_state_in_bitmask(unique_states, 'completed'))
