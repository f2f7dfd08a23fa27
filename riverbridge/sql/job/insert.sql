-- Announces queues and inserts jobs none of which is unique; in the order given, what only the
-- database knows of them (contract 3.1 and 5.3). It asks for no right on the columns of unique jobs.
-- max_attempts is always given: its default is only in the newest tables. Most jobs of a call have the
-- same options: those that differ are taken apart once. The instant goes back as UTC without zone: in
-- a session's own it may be past the year 9999, which Python cannot hold.
WITH /* include job/announced */
/* include job/insert_plain */
RETURNING job.id, job.created_at AT TIME ZONE 'UTC'
