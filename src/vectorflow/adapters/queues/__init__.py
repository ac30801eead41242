"""Queues: what wakes workers up."""
