-- Whose the route is. Ask only under the lock of order/try.sql and after it: an older snapshot may not
-- see the last owner. `stale`: its sign of life is due again. `free`: its owner is gone, or serves it
-- no more.
SELECT owner, term, seen_at < now() - make_interval(secs => %(beat)s::float8) AS stale,
       owner IS NULL
       OR seen_at < now() - make_interval(secs => %(silence)s::float8)
       OR NOT EXISTS (
           SELECT FROM /* schema */riverbridge_process AS process WHERE process.id = owner
       ) AS free
FROM /* schema */riverbridge_route
WHERE name = %(route)s
