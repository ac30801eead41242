"""What one document may take while it is extracted, and how that is enforced."""

import resource
import sys
import time
from dataclasses import dataclass

from vectorflow.errors import LimitExceeded

_FILES = 64
"""Files that a child may have open at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a document may take; a child is given them anew for each."""

    memory: int = 1 << 30
    """Bytes of address space of a child, its libraries included."""
    cpu: int = 300
    """Seconds of CPU."""
    silence: float = 120.0
    """Seconds without a section while somebody waits for it."""
    output: int = 200_000_000
    """Characters of text, and bytes of what is attached."""


def limit_resources(limits: Limits) -> None:
    """Bound this process for good, except its CPU time, which `limit_cpu` bounds."""
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,  # pipes and sockets are no files
        resource.RLIMIT_NOFILE: _FILES,
        resource.RLIMIT_AS: limits.memory,
    }
    if sys.platform != "linux":  # there it counts threads too; who forks is stopped otherwise
        bounds[resource.RLIMIT_NPROC] = 0
    for kind, bound in bounds.items():
        _bound(kind, bound)


def limit_cpu(limits: Limits) -> None:
    """Give this process its CPU time once more; SIGXCPU ends it when that is used up."""
    until = int(time.process_time()) + limits.cpu + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = until if hard == resource.RLIM_INFINITY else min(until, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def out_of_memory(limits: Limits) -> LimitExceeded:
    """Say that a document takes more memory than it may."""
    message = f"to extract it takes more than {limits.memory >> 20:,} MiB of memory"
    return LimitExceeded("memory", message)


def out_of_cpu(limits: Limits) -> LimitExceeded:
    """Say that a document takes more CPU than it may."""
    return LimitExceeded("cpu", f"to extract it takes more than {limits.cpu:,} s of CPU")


def out_of_patience(limits: Limits) -> LimitExceeded:
    """Say that nothing came of a document for too long."""
    return LimitExceeded("time", f"for {limits.silence:,.0f} s no text came out of it")


def too_much_output(limits: Limits) -> LimitExceeded:
    """Say that too much came out of a document."""
    return LimitExceeded("output", f"more than {limits.output:,} characters come out of it")


def _bound(kind: int, bound: int) -> None:
    _, hard = resource.getrlimit(kind)
    allowed = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
    try:
        resource.setrlimit(kind, (allowed, allowed))
    except (OSError, ValueError):
        return  # a system that does not know this limit has one wall less
