"""Recurring duties, as people are told of them."""

from enum import StrEnum


class Trouble(StrEnum):
    """What keeps a duty from being done."""

    FAILED = "failed"
    """The last run that ended ended with an error; it is tried again."""
    STUCK = "stuck"
    """A run has begun and does not end, or its process did."""
    OVERDUE = "overdue"
    """Nobody has begun it."""
