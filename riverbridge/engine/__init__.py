"""The lane: claim, hand over, settle; leases, rescue and waking."""
