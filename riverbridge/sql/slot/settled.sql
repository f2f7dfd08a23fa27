-- The last batch of a slot is settled. Kept, or nobody's from now on; its number only grows.
UPDATE /* schema */riverbridge_slot
SET owner = CASE WHEN %(keep)s::boolean THEN owner END,
    number = greatest(number, %(number)s),
    leased_by = NULL,
    leased_at = NULL,
    jobs = '{}'
WHERE id = %(id)s AND owner = %(owner)s
