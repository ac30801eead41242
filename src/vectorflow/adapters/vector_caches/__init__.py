"""The vector caches."""
