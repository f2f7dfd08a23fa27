"""Puts jobs into River's tables."""
