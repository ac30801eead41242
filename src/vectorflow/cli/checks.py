"""What the doctor looks at: each part by itself, so that one that is broken hides no other."""

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from pydantic import ByteSize

from vectorflow import __version__
from vectorflow.adapters.blob_stores.files import FileBlobStore
from vectorflow.cli import output
from vectorflow.cli.ledger import is_ledger_missing
from vectorflow.cli.worker import seat_holder
from vectorflow.domain.access import DEFAULT_TENANT, command_for
from vectorflow.domain.duties import Trouble
from vectorflow.errors import Unavailable, VectorFlowError
from vectorflow.ledger import reads, schema, waits
from vectorflow.ledger.backlog import backlog
from vectorflow.ledger.database import Database
from vectorflow.service.duties import done_here, trouble_of, unended_seconds
from vectorflow.service.recover import BLOB_KINDS
from vectorflow.settings import Settings, redacted
from vectorflow.wiring import Parts, ask_queue, examine_sandbox, make_embedder, make_recipe
from vectorflow.wiring.blobs import make_blobs
from vectorflow.wiring.caches import make_cache

State = Literal["ok", "note", "broken"]

LIBRARIES = ("lancedb", "openvino", "onnxruntime", "pyarrow", "sqlalchemy", "psycopg")

ATTENDED_SECONDS = 60.0
"""Where no duty ran for so long, nobody is at work."""

TENANTS_NAMED = 5
"""Tenants that a finding names; its facts have all."""

PROBE = "How do refunds work?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How one part is."""

    part: str
    state: State
    text: str
    fix: str = ""
    facts: Mapping[str, object] = field(default_factory=dict[str, object])
    """The same for machines."""


Check = Callable[[Settings], Awaitable[list[Finding]]]


async def examine(settings: Settings) -> list[Finding]:
    """Look at all parts, and make none that is not there yet."""
    findings = [_versions()]
    fresh = is_ledger_missing(settings)
    checks: list[tuple[str, Check]] = [
        ("blobs", _blobs),
        ("cache", _cache),
        ("store", _store),
        ("embedder", _embedder),
        ("sandbox", _sandbox),
        ("queue", _queue),
    ]
    if fresh:
        text = "there is no ledger yet; the first command that writes makes it"
        findings.append(Finding(part="ledger", state="ok", text=text))
    else:
        checks = [("ledger", _ledger), ("seat", _seat), ("blobs", _owner), *checks, ("work", _work)]
    for part, check in checks:
        try:
            findings += await check(settings)
        except VectorFlowError as error:
            findings.append(Finding(part=part, state="broken", text=error.message, fix=error.fix))
        except OSError as error:
            text = f"{error.filename}: {error.strerror}"
            fix = "check --data-dir, and the rights there"
            findings.append(Finding(part=part, state="broken", text=text, fix=fix))
    return findings


def human(size: int) -> str:
    """Write bytes for people."""
    return ByteSize(size).human_readable(separator=" ")


def length(seconds: float) -> str:
    """Write how long something takes."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def _versions() -> Finding:
    names = [f"vectorflow {__version__}", f"Python {platform.python_version()}"]
    for library in LIBRARIES:
        try:
            names.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            continue
    return Finding(part="versions", state="ok", text=", ".join(names))


async def _ledger(settings: Settings) -> list[Finding]:
    with closing(Database(settings.database_url)) as database:
        database.write_now(schema.demand_ready)
        revision = database.read_now(schema.current_revision)
        began = time.perf_counter()
        database.read_now(reads.now)
        took = time.perf_counter() - began
    where = redacted(settings.database_url)
    own = schema.newest_revision()
    newer = "" if revision == own else f", newer than {own} of this release, which may use it"
    text = f"{where}, schema {revision}{newer}, answers in {took * 1000:.1f} ms"
    return [Finding(part="ledger", state="ok", text=text)]


async def _seat(settings: Settings) -> list[Finding]:
    pid = seat_holder(settings)
    text = f"process {pid} works on this data directory" if pid else "no worker runs here"
    return [Finding(part="seat", state="ok", text=text)]


async def _owner(settings: Settings) -> list[Finding]:
    with closing(Database(settings.database_url)) as database:
        make_blobs(settings, database).check()
    return []


async def _blobs(settings: Settings) -> list[Finding]:
    store = FileBlobStore(settings.data_dir / "blobs")
    free, floor = store.free_bytes() or 0, settings.blobs.free_floor_bytes
    sizes = {
        kind.rstrip("/"): sum([blob.size async for blob in store.list(kind)]) for kind in BLOB_KINDS
    }
    held = ", ".join(f"{kind} {human(size)}" for kind, size in sizes.items())
    text, facts = f"{human(free)} free; {held}", {"free": free, **sizes}
    if free < floor:
        fix = f"free some space: below {human(floor)} new work is refused"
        return [Finding(part="blobs", state="broken", text=text, fix=fix, facts=facts)]
    return [Finding(part="blobs", state="ok", text=text, facts=facts)]


async def _cache(settings: Settings) -> list[Finding]:
    kept, most = make_cache(settings), settings.cache.max_bytes
    try:
        view = await kept.view()
    finally:
        await kept.close()
    held = f"{output.count(view.vectors, 'vector')}, {human(view.bytes)}"
    text = f"{held} of {human(most)}" if most else f"off; {held}"
    facts = {"vectors": view.vectors, "bytes": view.bytes, "max_bytes": int(most)}
    return [Finding(part="cache", state="ok", text=text, facts=facts)]


async def _store(settings: Settings) -> list[Finding]:
    parts = Parts(settings)  # not entered: that would make a ledger
    began = time.perf_counter()
    try:
        store = await parts.store(parts.store_locator())
        marker = await store.marker(settings.index)
    finally:
        await parts.__aexit__()
    took = time.perf_counter() - began
    held = f"{marker.dimensions} dimensions" if marker else "not there yet"
    url = redacted(settings.store_url)
    text = f"{url}, index {settings.index}: {held}, answers in {took * 1000:.0f} ms"
    findings = [Finding(part="store", state="ok", text=text)]
    if marker and marker.fingerprint != make_recipe(settings).fingerprint.digest:
        text = f"index {settings.index} does not hold vectors of {settings.embedder}"
        fix = "name the model that filled it with --embedder, or another index with --index"
        findings.append(Finding(part="index", state="note", text=text, fix=fix))
    return findings


async def _embedder(settings: Settings) -> list[Finding]:
    recipe = make_recipe(settings)
    began = time.perf_counter()
    async with make_embedder(settings, settings.embedder) as embedder:
        loaded = time.perf_counter()
        await embedder.embed([PROBE], "query")
        answered = time.perf_counter()
        runtime = getattr(embedder, "runtime", None)
    text = f"{settings.embedder}, {recipe.fingerprint.dimensions} dimensions"
    text += f", {runtime}" if runtime else ""
    text += f", loads in {loaded - began:.1f} s, answers in {(answered - loaded) * 1000:.0f} ms"
    return [Finding(part="embedder", state="ok", text=text)]


async def _sandbox(settings: Settings) -> list[Finding]:
    began = time.perf_counter()
    isolation = await asyncio.to_thread(examine_sandbox, settings)
    took = time.perf_counter() - began
    text = f"{isolation.text}, starts in {took:.1f} s"
    if isolation.is_tight:
        return [Finding(part="sandbox", state="ok", text=text)]
    fix = "read files of strangers on Linux, in a container that allows seccomp and Landlock"
    return [Finding(part="sandbox", state="note", text=text, fix=fix)]


async def _queue(settings: Settings) -> list[Finding]:
    if settings.queue.url is None:
        text = f"none; workers look for work every {settings.worker.poll_seconds:g} s"
        return [Finding(part="queue", state="ok", text=text)]
    began = time.perf_counter()
    try:
        await ask_queue(settings)
    except Unavailable as error:
        text = f"{error.message}; workers look for work by themselves meanwhile"
        return [Finding(part="queue", state="note", text=text, fix=error.fix)]
    took = time.perf_counter() - began
    text = f"{redacted(settings.queue_url)}, answers in {took * 1000:.0f} ms"
    return [Finding(part="queue", state="ok", text=text)]


async def _work(settings: Settings) -> list[Finding]:
    async with Parts(settings) as parts:
        read = parts.database.read
        waiting = (await read(backlog)).total
        now = await read(reads.now)
        duties = done_here(await read(reads.duty_list), sends=settings.queue.url is not None)
        counts = await read(reads.row_counts)
        away = await read(waits.waits)
        failing = await read(waits.failing_cleanup)
        failed, paused = await read(reads.failed_by_tenant), await read(reads.paused_by_tenant)
    ready = output.count(waiting.ready, "batch", "batches")
    idle = waiting.ready > 0 and not waiting.leased
    findings = [
        Finding(
            part="backlog",
            state="note" if idle else "ok",
            text=f"{ready} ready, {waiting.leased:,} leased",
            fix="start a worker: `vectorflow up`, or run `vectorflow embed` again" if idle else "",
        ),
        _of_tenants(
            part="failures",
            text=f"{output.count(sum(failed.values()), 'document')} failed",
            counts=failed,
            look="failures",
        ),
        _of_tenants(
            part="paused",
            text=f"{output.count(sum(paused.values()), 'job')} paused",
            counts=paused,
            look="jobs list",
        ),
        Finding(
            part="rows",
            state="ok",
            text=", ".join(f"{table} {count:,}" for table, count in counts.items()),
            facts=counts,
        ),
    ]
    findings += [Finding(part="away", state="note", text=output.waits(one)) for one in away]
    return findings + examine_cleanup(failing) + examine_duties(duties, now)


def examine_cleanup(failing: waits.FailingCleanup | None) -> list[Finding]:
    """Say that old records stay in their store, and why."""
    if failing is None:
        return []
    count = output.count(failing.batches, "batch", "batches")
    text = f"old records stay: {count} that would delete them failed with: {failing.message}"
    fix = failing.fix or "the log of the workers says more: look for batch_released"
    facts = {"batches": failing.batches}
    return [Finding(part="clean-up", state="note", text=output.plain(text), fix=fix, facts=facts)]


def _of_tenants(*, part: str, text: str, counts: Mapping[str, int], look: str) -> Finding:
    """Tell what waits for somebody, and of whom: the command `look` shows it of one tenant."""
    most = sorted(counts, key=lambda tenant: -counts[tenant])
    if most and most != [DEFAULT_TENANT]:
        whose = [f"{counts[tenant]:,} of {tenant}" for tenant in most[:TENANTS_NAMED]]
        whose += [f"{len(most) - TENANTS_NAMED:,} tenants more"] if most[TENANTS_NAMED:] else []
        text += f": {', '.join(whose)}"
    looks = [command_for(tenant, look) for tenant in most[:TENANTS_NAMED]]
    return Finding(
        part=part,
        state="note" if most else "ok",
        text=text,
        fix=f"see {', '.join(looks)}" if looks else "",
        facts=counts,
    )


def examine_duties(duties: Sequence[reads.DutyView], now: float) -> list[Finding]:
    """Say when each duty ran, runs next, and what keeps it from that.

    While nobody works, no duty runs, and none is late.
    """
    attended = any(now - (duty.last_run_at or 0.0) < ATTENDED_SECONDS for duty in duties)
    return [_duty(duty, now, attended=attended) for duty in duties]


def _duty(duty: reads.DutyView, now: float, *, attended: bool) -> Finding:
    late, trouble = now - duty.next_run_at, _trouble(duty, now)
    due = f"due again in {length(-late)}" if late < 0 else f"due for {length(late)}"
    text = f"{duty.name} {_ran(duty, now)}; {due}"
    troubled = bool(duty.error or (attended and trouble))
    return Finding(
        part="duty",
        state="note" if troubled else "ok",
        text=f"{text}; {trouble}" if troubled else text,
        fix="the log of the workers says more: look for duty_failed" if troubled else "",
        facts=asdict(duty) | {"overdue": attended and late > 0, "running": duty.running},
    )


def _ran(duty: reads.DutyView, now: float) -> str:
    if duty.last_run_at is None:
        return "never ran"
    return f"ran {length(now - duty.last_run_at)} ago: {duty.last_result or 'not done yet'}"


def _trouble(duty: reads.DutyView, now: float) -> str:
    """Say what keeps a duty from being done; nothing if it is in time."""
    match trouble_of(duty, now):
        case Trouble.FAILED:
            return f"the last run failed with {duty.error}"
        case Trouble.STUCK:
            return f"no run has ended for {length(unended_seconds(duty, now))}"
        case Trouble.OVERDUE:
            return "nobody has begun it"
        case None:
            return ""
