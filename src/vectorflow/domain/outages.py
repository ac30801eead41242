"""Systems that batches need, and how long to leave one alone that is away: pure decisions."""

import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import ParamSpec, TypeVar

from vectorflow.domain.jobs import BatchKind
from vectorflow.domain.pipelines import Pipeline
from vectorflow.domain.retries import BASE_DELAY, LONGEST_WAIT, MAX_DELAY
from vectorflow.errors import VectorFlowError

MOST_DOUBLINGS = 10

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


class SystemKind(StrEnum):
    """What a worker calls."""

    PROVIDER = "provider"
    """Runs the embedder's model; for a local one that is this machine."""
    STORE = "store"
    WEBHOOK = "webhook"
    VALIDATION = "validation"


@dataclass(frozen=True, slots=True)
class System:
    """One that can be away as a whole. Not by account: who is away is away for all."""

    kind: SystemKind
    name: str
    """What tells it from others of its kind; no secret."""

    def __str__(self) -> str:
        """Write it for people."""
        return "the validation hook" if self.kind == SystemKind.VALIDATION else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What is done while a system is away; see the settings `retries`."""

    longest_pause: float = MAX_DELAY
    """Seconds between two tries, where the other side does not ask for more itself."""
    outage: float = 24 * 3600.0
    """Seconds without an answer, after which jobs are paused and somebody has to look."""


USUAL = Patience()


def systems_of(kind: BatchKind, pipeline: Pipeline, job: int) -> tuple[System, ...]:
    """List what a batch cannot do without; a webhook belongs to the one job that named it."""
    if kind is BatchKind.EXTRACT:
        hook = pipeline.recipe.validation
        return (System(SystemKind.VALIDATION, hook),) if hook else ()
    provider = System(SystemKind.PROVIDER, pipeline.embedder)
    if pipeline.delivers:
        webhook = System(SystemKind.WEBHOOK, f"{pipeline.store} of job {job}")
        return (provider, webhook) if kind is BatchKind.EMBED else ()
    store = System(SystemKind.STORE, pipeline.store)
    return (provider, store) if kind is BatchKind.EMBED else (store,)


def pause_after(
    failures: int, asked: float | None, patience: Patience, chance: random.Random
) -> float:
    """Seconds to leave a system alone after so many failures in a row, with full jitter."""
    if asked is not None:
        return min(asked, LONGEST_WAIT)
    ceiling = BASE_DELAY * 2 ** min(failures, MOST_DOUBLINGS)
    return chance.uniform(0, min(patience.longest_pause, ceiling))


@contextmanager
def calling(kind: SystemKind) -> Generator[None]:
    """Note on errors which system they came from."""
    try:
        yield
    except VectorFlowError as error:
        error.system = error.system or kind
        raise


def called(
    kind: SystemKind, call: Callable[Asked, Awaitable[Answer]]
) -> Callable[Asked, Awaitable[Answer]]:
    """Do the same for every call."""

    async def noting(*args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        with calling(kind):
            return await call(*args, **kwargs)

    return noting
