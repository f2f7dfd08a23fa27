-- For what somebody waits for: each statement is planned for its values, takes one core from those who
-- work, and is too short for compiling to pay. A page read from anywhere costs about as much as one
-- after the other, as it does on all but turning disks.
SELECT
    set_config('plan_cache_mode', 'force_custom_plan', true),
    set_config('max_parallel_workers_per_gather', '0', true),
    set_config('jit', 'off', true),
    set_config('random_page_cost', '1.1', true),
    set_config('work_mem', '16MB', true)
