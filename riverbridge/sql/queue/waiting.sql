-- The queues with available jobs. River keeps no list of them; river_queue has the queues that
-- workers asked for.
WITH RECURSIVE
/* include queue/available */
SELECT queue FROM found WHERE queue IS NOT NULL
LIMIT 10000
