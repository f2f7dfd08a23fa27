"""One small module for each kind of connection a user may have; loaded when it is first used.

Each has two parts: a source of transactions of the client's own, and a function that joins a
transaction which the caller has open. `choose` finds the module for an object.
"""
