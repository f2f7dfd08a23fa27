-- Takes the route over, or says that its owner still serves it.
INSERT INTO /* schema */riverbridge_route AS route (name, owner, term, seen_at)
VALUES (%(route)s, %(owner)s, 1, now())
ON CONFLICT (name) DO UPDATE
SET owner = excluded.owner,
    term = route.term + CASE WHEN route.owner = excluded.owner THEN 0 ELSE 1 END,
    seen_at = now()
RETURNING term
