-- Records that a clean stop would have removed: silent ones, and those of this host whose process is
-- known to be gone.
SELECT id, host, pid, heartbeat_at < now() - make_interval(secs => %(silence)s::float8) AS silent
FROM /* schema */riverbridge_process
WHERE id <> %(id)s
