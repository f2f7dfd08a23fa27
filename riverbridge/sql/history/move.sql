UPDATE /* schema */riverbridge_history_mark
SET until = %(until)s::timestamptz,
    last_id = %(last_id)s::bigint,
    seen_id = %(seen_id)s::bigint
