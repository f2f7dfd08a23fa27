DELETE FROM /* schema */riverbridge_inbox
WHERE digest IN (
    SELECT digest
    FROM /* schema */riverbridge_inbox
    WHERE expires_at < now()
    ORDER BY expires_at
    LIMIT %(limit)s
)
