"""Settings of gunicorn for VectorFlow: docs/how-to/run-behind-gunicorn.md.

    gunicorn --config deploy/gunicorn.conf.py vectorflow.asgi:app

Options on the command line win over this file.
"""

import os
import shutil
import tempfile
from pathlib import Path

bind = "127.0.0.1:8000"
worker_class = "uvicorn_worker.UvicornWorker"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))

# Each process opens the ledger by itself: neither SQLite nor threads outlive a fork.
preload_app = False

# A process whose event loop stands still for so long is replaced.
timeout = 60

# After SIGTERM: five seconds in which those who ask /readyz learn of it, and the rest for uploads
# that are under way.
graceful_timeout = 30

# Longer than most proxies keep idle connections, so that it is they who close them.
keepalive = 75

# Heartbeats are files, and a slow disk must not look like a dead process.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None

# Proxies whose X-Forwarded-* headers are believed, with commas between.
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")

# It would be written into the home directory, which may be read-only.
control_socket_disable = True

# What the processes count is added up in files of one folder, so that /metrics tells the same
# whichever of them answers.
counted_in = "PROMETHEUS_MULTIPROC_DIR"
name_of_ours = "vectorflow-metrics-"


def on_starting(_server: object) -> None:
    """Give this start a folder of its own, unless somebody has chosen one."""
    given = os.environ.get(counted_in, "")
    if not given or name_of_ours in given:  # inherited from a master that this one replaces
        os.environ[counted_in] = tempfile.mkdtemp(prefix=name_of_ours, dir=worker_tmp_dir)


def on_exit(_server: object) -> None:
    """Remove it."""
    folder = Path(os.environ[counted_in])
    if folder.name.startswith(name_of_ours):
        shutil.rmtree(folder, ignore_errors=True)


# gunicorn's limits on the request line and headers do not reach its uvicorn workers, which refuse
# heads of more than 64 KiB.
