"""Adapters of the port `metrics`."""
