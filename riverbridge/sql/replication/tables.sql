-- The tables that a source wants: where they are, and whether their changes are published. Rows of a
-- partition may be published as rows of the table that it belongs to.
SELECT wanted.name, n.nspname::text, c.relname::text,
       p.puballtables OR EXISTS (
           SELECT FROM pg_publication_rel AS r, pg_partition_ancestors(c.oid) AS a (relid)
           WHERE r.prpubid = p.oid AND r.prrelid = a.relid
       ) OR EXISTS (
           SELECT FROM pg_publication_rel AS r WHERE r.prpubid = p.oid AND r.prrelid = c.oid
       ) OR EXISTS (
           SELECT FROM pg_publication_namespace AS s
           WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace
       )
FROM unnest(%(tables)s::text[]) AS wanted (name)
LEFT JOIN pg_class AS c ON c.oid = to_regclass(wanted.name)
LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_publication AS p ON p.pubname = %(publication)s
