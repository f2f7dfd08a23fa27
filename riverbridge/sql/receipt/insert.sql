INSERT INTO /* schema */riverbridge_receipt (job_id, sink, attempt, receipt)
SELECT confirmed.job_id, confirmed.sink, confirmed.attempt, confirmed.receipt
FROM unnest(%(jobs)b::bigint[], %(sinks)b::text[], %(attempts)b::int[], %(receipts)b::text[])
     AS confirmed (job_id, sink, attempt, receipt)
