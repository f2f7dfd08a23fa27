-- Deletes jobs that the caller has locked; their rows in the order of their ids.
WITH deleted AS (
    DELETE FROM /* schema */river_job AS job
    WHERE job.id = ANY (%(ids)b::bigint[])
    RETURNING job.id, to_json(job)::text AS line
)
SELECT line
FROM deleted
ORDER BY id
