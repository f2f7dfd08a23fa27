"""Puts jobs into River's tables, and looks after jobs and queues."""
