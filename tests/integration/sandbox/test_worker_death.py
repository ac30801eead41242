"""Children end with their worker, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORKER = """
import sys
from io import BytesIO
import tests.bad_extractors
from vectorflow.sandbox.extractor import SandboxedExtractor
from vectorflow.sandbox.places import places_of
from vectorflow.sandbox.pool import Pool

pool = Pool(lambda: places_of({"vectorflow", "tests"}))
found = SandboxedExtractor(pool, "tests.bad_extractors:BadExtractor").extract(
    BytesIO(sys.argv[1].encode() + b" " + b"x" * 100_000)
)
next(found)
print(*(child._process.pid for child in pool._all), flush=True)
next(found)
"""
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("deed", ["sleep", "sleep_deaf", "spin"])
def test_a_worker_that_is_killed_takes_its_children_with_it(deed: str) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, deed], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    child = int(worker.stdout.readline())
    assert is_alive(child)

    worker.send_signal(signal.SIGKILL)
    worker.communicate()

    ends = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < ends:
        time.sleep(0.01)
    assert not is_alive(child)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
