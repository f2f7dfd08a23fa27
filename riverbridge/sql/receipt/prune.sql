-- By id, which is about the order of `at`: so no index on it is needed, and no more is read than is
-- deleted. One that is a little out of order waits for its neighbours.
DELETE FROM /* schema */riverbridge_receipt
WHERE id = ANY(ARRAY(
    SELECT first.id
    FROM (
        SELECT receipt.id, receipt.at
        FROM /* schema */riverbridge_receipt AS receipt
        ORDER BY receipt.id
        LIMIT %(limit)s::bigint
    ) AS first
    WHERE first.at < now() - %(keep)s::interval
))
