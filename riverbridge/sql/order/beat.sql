-- Says that the owner still serves the route; left out where another lane of it is just saying so.
UPDATE /* schema */riverbridge_route
SET seen_at = now()
WHERE name = (
    SELECT name FROM /* schema */riverbridge_route
    WHERE name = %(route)s AND owner = %(owner)s
    FOR UPDATE SKIP LOCKED
)
