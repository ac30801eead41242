"""Settings of gunicorn for VectorFlow: docs/how-to/run-behind-gunicorn.md.

    gunicorn --config deploy/gunicorn.conf.py vectorflow.asgi:app

Options on the command line win over this file.
"""

import os
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

# gunicorn's limits on the request line and headers do not reach its uvicorn workers, which refuse
# heads of more than 64 KiB.
