"""The machine that this process runs on, as others call it."""

import re
import socket


def host_name() -> str:
    """Name of this machine, in letters that a file's name may have; empty where it has none."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("._-")
