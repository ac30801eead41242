"""Extraction in child processes that cannot hurt: each has limits, and walls around it."""
