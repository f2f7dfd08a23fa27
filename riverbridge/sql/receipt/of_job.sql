SELECT sink, attempt, receipt, at
FROM /* schema */riverbridge_receipt
WHERE job_id = %(job)s::bigint
ORDER BY id
LIMIT %(limit)s::bigint
