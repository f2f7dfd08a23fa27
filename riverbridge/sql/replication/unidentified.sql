-- Published tables of which Postgres refuses every UPDATE and DELETE, as nothing says which row it
-- was: those of a publication, or of a list from which one is to be made.
SELECT format('%%I.%%I', n.nspname, c.relname)
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE (
    c.relreplident = 'n'
    OR c.relreplident = 'd' AND NOT EXISTS (
        SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary
    )
) AND (
    c.oid = ANY (SELECT to_regclass(name) FROM unnest(%(tables)s::text[]) AS given (name))
    OR (n.nspname, c.relname) IN (
        SELECT t.schemaname, t.tablename
        FROM pg_publication_tables AS t
        JOIN pg_publication AS p USING (pubname)
        WHERE t.pubname = %(publication)s AND (p.pubupdate OR p.pubdelete)
    )
)
ORDER BY 1
