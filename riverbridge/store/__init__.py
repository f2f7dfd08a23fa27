"""Runs the statements of `riverbridge.sql` and returns values of `riverbridge.model`."""
