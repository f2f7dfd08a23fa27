"""Measurements anybody can repeat; `riverbridge bench` runs them."""
