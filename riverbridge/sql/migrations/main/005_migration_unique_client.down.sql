-- The older table has no room for a second line, so none may be left.
DO $$
DECLARE
    others text;
BEGIN
    IF to_regclass('/* schema */river_migration') IS NOT NULL THEN
        SELECT string_agg(DISTINCT line, ', ') INTO others
        FROM /* schema */river_migration WHERE line <> 'main';
        IF others IS NOT NULL THEN
            RAISE EXCEPTION 'migration lines other than main are still there: %', others
            USING HINT = 'Take those lines down first.';
        END IF;

        ALTER TABLE /* schema */river_migration RENAME TO river_migration_old;

        CREATE TABLE /* schema */river_migration (
            id bigserial PRIMARY KEY,
            created_at timestamptz NOT NULL DEFAULT now(),
            version bigint NOT NULL,
            CONSTRAINT version CHECK (version >= 1)
        );
        CREATE UNIQUE INDEX ON /* schema */river_migration (version);

        INSERT INTO /* schema */river_migration (created_at, version)
        SELECT created_at, version FROM /* schema */river_migration_old ORDER BY version;

        DROP TABLE /* schema */river_migration_old;
    END IF;
END
$$;

-- Its index goes with it.
ALTER TABLE /* schema */river_job DROP COLUMN unique_key;

DROP TABLE /* schema */river_client_queue;
DROP TABLE /* schema */river_client;
