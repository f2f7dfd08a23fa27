-- How many statements of a bridge process the server still works on.
SELECT count(*)
FROM pg_stat_activity
WHERE application_name LIKE %(owner)s AND state = 'active' AND wait_event IS DISTINCT FROM 'ClientWrite'
