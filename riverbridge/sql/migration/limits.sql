SELECT
    set_config('lock_timeout', %(lock_ms)s, true),
    set_config('statement_timeout', %(statement_ms)s, true)
