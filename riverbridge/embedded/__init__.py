"""Servers for the demo and the tests, started on loopback and stopped again."""
