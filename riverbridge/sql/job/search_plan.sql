-- How the next look would be taken, and what the planner thinks that it costs.
EXPLAIN (FORMAT JSON)
/* include job/look */
