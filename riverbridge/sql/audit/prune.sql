-- By id, as receipts are: about the order of `at`, which needs no index so.
DELETE FROM /* schema */riverbridge_audit
WHERE id = ANY(ARRAY(
    SELECT first.id
    FROM (
        SELECT audit.id, audit.at
        FROM /* schema */riverbridge_audit AS audit
        ORDER BY audit.id
        LIMIT %(limit)s::bigint
    ) AS first
    WHERE first.at < now() - %(keep)s::interval
))
