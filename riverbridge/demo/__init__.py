"""The whole thing on servers of its own: orders are written, delivered, and read back."""
