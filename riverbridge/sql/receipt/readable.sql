-- False also where there is no such table, as where River's tables are all there are.
SELECT coalesce(
    has_table_privilege(
        to_regclass(coalesce(quote_ident(%(schema)s::text) || '.', '') || 'riverbridge_receipt'), 'SELECT'
    ),
    false
)
