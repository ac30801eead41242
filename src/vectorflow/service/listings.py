"""Who lists documents, and whether they still live: one lock file per listing process."""

import fcntl
import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def lister(folder: Path) -> Generator[str]:
    """Hold a lock that the system takes back when this process dies; gives its name."""
    folder.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    path = folder / name
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield name
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def is_dead(folder: Path, name: str) -> bool:
    """Whether the process of that name has ended, orderly or not."""
    try:
        file = os.open(folder / name, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        (folder / name).unlink(missing_ok=True)
        return True
    finally:
        os.close(file)
