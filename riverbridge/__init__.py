"""The riverbridge package."""
