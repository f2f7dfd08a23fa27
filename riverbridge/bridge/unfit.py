"""Why an event becomes no job."""

from __future__ import annotations


class Unfit(Exception):
    """It cannot become one, and goes into quarantine; the message says why."""


class PassedOver(Exception):
    """It is not to become one; the message says what it is."""
