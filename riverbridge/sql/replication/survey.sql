SELECT current_setting('wal_level'), pg_is_in_recovery(),
       EXISTS (SELECT FROM pg_publication WHERE pubname = %(publication)s)
