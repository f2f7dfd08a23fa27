SELECT set_config('lock_timeout', %(lock_ms)s::text, true)
