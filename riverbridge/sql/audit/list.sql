SELECT id, at, who, role, way, action, subject, before::text, after::text
FROM /* schema */riverbridge_audit
WHERE (%(before_id)s::bigint IS NULL OR id < %(before_id)s::bigint)
  AND (%(who)s::text IS NULL OR who = %(who)s::text)
  AND (%(subject)s::text IS NULL OR subject = %(subject)s::text)
ORDER BY id DESC
LIMIT %(limit)s::int
