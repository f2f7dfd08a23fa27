-- When each route first ran on this database: what was older than its max_age then is not delivered.
INSERT INTO /* schema */riverbridge_route (name)
VALUES (%(name)s)
ON CONFLICT (name) DO UPDATE SET name = excluded.name
RETURNING first_started_at
