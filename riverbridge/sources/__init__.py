"""Sources: where events come from that become jobs."""
