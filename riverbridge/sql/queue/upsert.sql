-- River's queue rows (contract 3.12): made where missing, kept fresh where present. A pause stays.
INSERT INTO /* schema */river_queue (name, created_at, metadata, updated_at)
SELECT name, now(), '{}', now() FROM unnest(%(names)b::text[]) AS name
ORDER BY name
ON CONFLICT (name) DO UPDATE SET updated_at = excluded.updated_at
