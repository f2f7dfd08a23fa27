"""Runs Python job functions: what `riverbridge.engine` hands out, answered with outcomes.

A job goes `Executor` (slots) → `Call` (a task in the loop, or a thread) → `Attempt` (middleware,
hooks, decoding, and your function between them) → `verdict` (what came of it, as a value).
"""
