-- Jobs as a lane would claim them, for templates, and their states; nothing is locked.
SELECT /* include job/claimed */,
       state::text
FROM /* schema */river_job
WHERE id = ANY (%(ids)b::bigint[])
ORDER BY id
