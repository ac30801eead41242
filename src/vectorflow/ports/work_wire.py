"""The port `work` over HTTP: what travels, shared by both sides.

Each side turns these values into JSON and back; fields that one side does not know are ignored.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from vectorflow.domain.credentials import NO_CREDENTIALS
from vectorflow.domain.jobs import LANES, BatchKind, Lane
from vectorflow.errors import BadChunk, Permanent, Transient, VectorFlowError
from vectorflow.ports.work import Finished, Lease, LeasedVersion, NewPart, Usage

WORKER_HEADER = "VectorFlowWorker"
"""Name of the worker, in every request; with its key it says whose leases are meant."""

LEASES_HEADER = "VectorFlowLeases"
"""`BATCH:EPOCH` with commas between: leases under which blobs and records are asked for. One that
is current is enough, since a worker writes records of many batches in one call."""

WORKER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,79}")

MAX_LEASES = 64
"""That one request names."""

CLAIM_LIMIT = 256
"""Batches that one request is given at most."""

ARROW = "application/vnd.apache.arrow.stream"

_LEASE = re.compile(r"([0-9]{1,18}):([0-9]{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error on its way."""

    codes: tuple[str, ...]
    """Its code and those of the classes above it: the first that is known there counts."""
    message: str
    fix: str = ""
    retry_after: float | None = None
    position: int | None = None
    """Of the chunk to blame."""
    system: str = ""
    """Kind of the system whose call failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Asks for leases."""

    kinds: tuple[BatchKind, ...]
    capabilities: Mapping[str, int]
    limit: int
    lanes: tuple[Lane, ...] = LANES


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """Leases, with their credentials, and how to reach what they name."""

    leases: tuple[Lease, ...]
    stores: Mapping[str, str | None] = field(repr=False)
    """Locator -> URL for the worker, with credentials; None where the API stores for it."""
    providers: Mapping[str, str]
    """Plugin of an embedder -> base URL of its provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """Asks for more time."""

    leases: tuple[Lease, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """Batches whose leases were pushed out."""

    batches: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Makes progress durable."""

    lease: Lease
    parts: tuple[NewPart, ...] = ()
    vectors: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of one batch: `Finished` with its errors as they travel."""

    lease: Lease
    parts: tuple[NewPart, ...] = ()
    failures: Mapping[int, Problem] = field(default_factory=dict[int, Problem])
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Ends batches."""

    results: tuple[Ended, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """For each result whether its lease was the current one."""

    accepted: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Gives a batch back."""

    lease: Lease
    error: Problem | None = None


def bare(lease: Lease, *, versions: bool = False) -> Lease:
    """Keep of a lease what the ledger reads when it comes back; no credentials, no manifests."""
    kept = tuple(map(_bare_version, lease.versions)) if versions else ()
    job = replace(lease.job, credentials=NO_CREDENTIALS)
    return replace(lease, job=job, versions=kept, vectors=())


def ended(result: Finished) -> Ended:
    """Make a result ready to travel."""
    return Ended(
        lease=bare(result.lease, versions=True),
        parts=result.parts,
        failures={version: problem_of(error) for version, error in result.failures.items()},
        usage=result.usage,
    )


def finished(result: Ended) -> Finished:
    """Read a result that came."""
    return Finished(
        lease=result.lease,
        parts=result.parts,
        failures={version: error_of(problem) for version, problem in result.failures.items()},
        usage=result.usage,
    )


def problem_of(error: VectorFlowError) -> Problem:
    """Make an error ready to travel."""
    codes = [kind.code for kind in type(error).__mro__ if issubclass(kind, VectorFlowError)]
    return Problem(
        codes=tuple(dict.fromkeys(codes)),
        message=error.message,
        fix=error.fix,
        retry_after=error.retry_after if isinstance(error, Transient) else None,
        position=error.position if isinstance(error, BadChunk) else None,
        system=error.system,
    )


def error_of(problem: Problem) -> VectorFlowError:
    """Read an error that came; one of a plugin becomes the nearest that is known here."""
    known = _known()
    kind = next((known[code] for code in problem.codes if code in known), Permanent)
    error = kind.__new__(kind)  # some are made of other things than their sentence
    VectorFlowError.__init__(error, problem.message, fix=problem.fix)
    error.system = problem.system
    if isinstance(error, Transient):
        error.retry_after = problem.retry_after
    if isinstance(error, BadChunk):
        error.position = problem.position or 0
    return error


def answered(
    code: str, message: str, *, fix: str = "", retry_after: float | None = None
) -> VectorFlowError | None:
    """Read the error of an answer; None where its code is not that of an error of ours."""
    kind = _known().get(code)
    if kind is None or kind is VectorFlowError:
        return None
    return error_of(Problem(codes=(code,), message=message, fix=fix, retry_after=retry_after))


def names_of(leases: Mapping[int, int]) -> str:
    """Write leases, epoch by batch, into a header."""
    return ",".join(f"{batch}:{epoch}" for batch, epoch in leases.items())


def read_names(header: str) -> list[tuple[int, int]] | None:
    """Read batches and epochs from a header; None where there are none, or too many."""
    found = [_LEASE.fullmatch(name.strip()) for name in header.split(",", MAX_LEASES)]
    read = [(int(name[1]), int(name[2])) for name in found if name]
    return read if len(read) == len(found) <= MAX_LEASES else None


def _bare_version(version: LeasedVersion) -> LeasedVersion:
    return replace(version, external_id="", source=None, metadata={}, parts=(), base=())


def _known() -> dict[str, type[VectorFlowError]]:
    return {kind.code: kind for kind in _tree(VectorFlowError)}


def _tree(kind: type[VectorFlowError]) -> Iterator[type[VectorFlowError]]:
    """Classes of our own; those of plugins may take anything to be made."""
    if kind.__module__ == VectorFlowError.__module__:
        yield kind
        for child in kind.__subclasses__():
            yield from _tree(child)
