-- Writes down which batch goes out under a slot, in the transaction that leases its jobs: now() is
-- their attempted_at. A slot that another process has taken over is not ours to use.
UPDATE /* schema */riverbridge_slot
SET number = %(number)s,
    known = %(known)s,
    leased_by = %(owner)s,
    leased_at = now(),
    alone = %(alone)s,
    jobs = %(jobs)b::bigint[]
WHERE id = %(id)s AND owner = %(owner)s
