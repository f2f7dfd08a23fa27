DELETE FROM /* schema */riverbridge_pause AS pause
WHERE what = %(what)s::text AND name = %(name)s::text
RETURNING until IS NULL OR until > now()
