-- One look at the jobs in an order, and which of those looked at match in full. The first row is no job:
-- it says how many were looked at and which was the last, where the next look begins. walking: the look
-- goes along an index that has all jobs, or all of the one state, in this order, whether they match or
-- not, so it reads no more than its window. Otherwise all that indexes know to match are gathered and
-- put in order, and never are they sought along the order: the planner, which takes matches to lie
-- evenly, would read the whole table for a kind that is no longer used.
/* include job/look */
