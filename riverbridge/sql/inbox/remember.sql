-- Those that were not there. One that another transaction is about to write is waited for.
INSERT INTO /* schema */riverbridge_inbox (digest, source, expires_at)
SELECT digest, %(source)s, now() + %(keep)s::interval
FROM unnest(%(digests)b::bytea[]) AS digest
ON CONFLICT (digest) DO NOTHING
RETURNING digest
