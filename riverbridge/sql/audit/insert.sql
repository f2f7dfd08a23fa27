INSERT INTO /* schema */riverbridge_audit (who, role, way, action, subject, before, after)
SELECT %(who)s, %(role)s, %(way)s, action, subject, before::jsonb, after::jsonb
FROM unnest(%(actions)b::text[], %(subjects)b::text[], %(befores)b::text[], %(afters)b::text[])
     AS changed (action, subject, before, after)
