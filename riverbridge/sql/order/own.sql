-- Takes the route over, under the locks of all its shares. Each taking is a term of its own.
INSERT INTO /* schema */riverbridge_route AS route (name, owner, term, seen_at)
VALUES (%(route)s, %(owner)s, 1, now())
ON CONFLICT (name) DO UPDATE
SET owner = excluded.owner, term = route.term + 1, seen_at = now()
RETURNING term
