-- As insert_alike.sql, where nobody asks for the rows (contract 3.2).
WITH /* include job/announced */
/* include job/insert_alike */
