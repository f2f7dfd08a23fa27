-- Locks a slot that is still ours, with its last batch.
SELECT id, number, known, leased_by, leased_at, alone, jobs
FROM /* schema */riverbridge_slot
WHERE id = %(id)s AND owner = %(owner)s
FOR UPDATE
