-- What a database without river_migration has of what riverbridge needs.
SELECT
    to_regclass('/* schema */river_job') IS NOT NULL,
    EXISTS (
        SELECT FROM pg_catalog.pg_attribute
        WHERE attrelid = to_regclass('/* schema */river_job')
            AND attname = 'unique_states' AND NOT attisdropped
    ),
    to_regclass('/* schema */riverbridge_process') IS NOT NULL
        AND to_regclass('/* schema */riverbridge_route') IS NOT NULL
