"""The walls around a child, as many of them as this system has."""

import sys
from collections.abc import Callable, Collection
from enum import StrEnum
from functools import partial

from vectorflow.sandbox import kernel
from vectorflow.sandbox.landlock import see_only
from vectorflow.sandbox.limits import Limits
from vectorflow.sandbox.places import Places
from vectorflow.sandbox.seccomp import refuse_system_calls


class Wall(StrEnum):
    """What keeps a child from doing harm, beside its limits."""

    CAPABILITIES = "capabilities"
    """What root may do beyond others is given up."""
    LANDLOCK = "landlock"
    """Nothing is read but libraries, nothing is written."""
    SECCOMP = "seccomp"
    """No system call for networks, for other processes, or for writing files."""
    NAMESPACE = "namespace"
    """A network that holds nothing; where there is no seccomp."""


def raise_walls(places: Places) -> list[Wall]:
    """Shut this process in, for good; what the system does not have is left out.

    Returns:
        The walls that stand.
    """
    if sys.platform != "linux" or not _stands(kernel.renounce_privileges):
        return []
    steps: list[tuple[Wall, Callable[[], None]]] = [
        (Wall.CAPABILITIES, kernel.drop_capabilities),
        (Wall.LANDLOCK, partial(see_only, places.trees, places.search)),
        (Wall.SECCOMP, refuse_system_calls),
    ]
    walls = [wall for wall, step in steps if _stands(step)]
    if Wall.SECCOMP not in walls and _stands(kernel.leave_network):
        walls.append(Wall.NAMESPACE)
    return walls


def described(limits: Limits, walls: Collection[Wall]) -> str:
    """Say what keeps a document from doing harm, in a line."""
    said = [
        f"memory {limits.memory >> 20:,} MiB",
        f"CPU {limits.cpu:,} s",
        f"silence {limits.silence:,.0f} s",
        f"output {limits.output:,} characters",
    ]
    if Wall.SECCOMP in walls:
        said += ["no network, no processes, no file written (seccomp)"]
    if Wall.NAMESPACE in walls:
        said += ["no network (namespace)"]
    if Wall.LANDLOCK in walls:
        said += ["no file read but libraries (landlock)"]
    return ", ".join(said)


def _stands(step: Callable[[], None]) -> bool:
    try:
        step()
    except (OSError, AttributeError):  # AttributeError: a libc without the function
        return False
    return True
