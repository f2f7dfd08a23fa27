"""Measurements anybody can repeat; each module's `main` gives its figures as a dict."""
