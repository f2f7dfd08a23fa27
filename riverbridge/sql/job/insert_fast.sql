-- As insert.sql, where nobody asks for the rows (contract 3.2). It takes the server no longer than COPY,
-- and needs no statement before or after it.
WITH /* include job/announced */
/* include job/insert_plain */
