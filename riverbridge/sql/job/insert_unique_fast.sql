-- As insert_unique.sql, where nobody asks for the rows: a job whose key is taken is left out
-- (contract 3.2). How many were inserted.
WITH /* include job/announced */, inserted AS (
    /* include job/insert_keyed */
        DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM inserted
