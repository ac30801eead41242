"""Run a command, and write down the most memory that any process of it had, in bytes.

A process between it and the tests: what a process has at its start counts as its own, and a new
one has what its parent has.
"""

import resource
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    report, *command = sys.argv[1:]
    code = subprocess.run(command, check=False).returncode
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    Path(report).write_text(str(most))
    sys.exit(code)
