"""Settings -> the sandbox that extractors run in, and what it keeps out on this machine."""

from typing import NamedTuple

from vectorflow import plugins
from vectorflow.sandbox.limits import Limits
from vectorflow.sandbox.places import Places, places_of
from vectorflow.sandbox.pool import Pool, PoolOptions
from vectorflow.sandbox.walls import Wall, described
from vectorflow.settings import Settings


class Isolation(NamedTuple):
    """What keeps documents from doing harm."""

    text: str
    """For people, in a line."""
    is_tight: bool
    """Whether a library that a document took over could do nothing but answer."""


def make_sandbox(settings: Settings) -> Pool:
    """Make what extractors run in; it starts nothing before one of them needs it."""
    own = settings.sandbox
    limits = Limits(
        memory=own.memory_bytes,
        cpu=own.cpu_seconds,
        silence=own.silent_seconds,
        output=own.output_characters,
    )
    options = PoolOptions(children=own.children, documents=own.documents)
    return Pool(_places, limits, options)


def examine_sandbox(settings: Settings) -> Isolation:
    """Start a child, and see which walls stand around it.

    Raises:
        Unavailable: It does not start.
    """
    sandbox = make_sandbox(settings)
    try:
        child = sandbox.take()
        sandbox.give_back(child)
    finally:
        sandbox.close()
    text = described(sandbox.limits, child.walls)
    return Isolation(text, is_tight=child.walls >= {Wall.SECCOMP, Wall.LANDLOCK})


def _places() -> Places:
    """Find what extractors import: their packages may lie in folders that are not for packages."""
    classes = (plugins.load("extractors", name) for name in plugins.names("extractors"))
    return places_of({"vectorflow", *(found.__module__.partition(".")[0] for found in classes)})
