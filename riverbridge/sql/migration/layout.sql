SELECT
    to_regclass('/* schema */river_migration') IS NOT NULL,
    EXISTS (
        SELECT FROM pg_catalog.pg_attribute
        WHERE attrelid = to_regclass('/* schema */river_migration')
            AND attname = 'line' AND NOT attisdropped
    )
