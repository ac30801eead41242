"""Technologies behind the ports: `kind/technology.py`, one third-party library each."""
