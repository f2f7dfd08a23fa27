"""Pure values and rules: jobs, states, outcomes, retries. No input or output."""
