"""Test kit, shipped: behaviour suites that every adapter of a kind must pass."""
