ALTER TABLE /* schema */riverbridge_route DROP COLUMN owner, DROP COLUMN term, DROP COLUMN seen_at;
