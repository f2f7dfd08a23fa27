"""Who may ask, and whether a change was meant.

hashes (hashes of passwords and tokens) → authentication (who) ; hosts and forgery (from where)
"""
