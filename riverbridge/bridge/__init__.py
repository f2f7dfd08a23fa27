"""Takes a batch of jobs by delivering it: routes, templates, envelopes, breakers."""
