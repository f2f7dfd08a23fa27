-- How many orders came back as no job that was worked; and how often one was a second job, or was
-- worked a second time.
SELECT count(*) FILTER (WHERE worked IS NULL), coalesce(sum(worked - 1), 0)
FROM orders
LEFT JOIN (
    SELECT (args ->> 'order_id')::bigint AS id, sum(attempt) AS worked
    FROM /* schema */river_job
    WHERE kind = %(kind)s AND state = 'completed'
    GROUP BY 1
) AS back USING (id)
