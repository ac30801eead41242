"""What the doctor looks at: each part by itself, so that one that is broken hides no other."""

import platform
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pydantic import ByteSize

from vectorflow import __version__
from vectorflow.adapters.blob_stores.files import FileBlobStore
from vectorflow.cli import output
from vectorflow.cli.worker import seat_holder
from vectorflow.errors import VectorFlowError
from vectorflow.ledger import reads, schema
from vectorflow.ledger.database import Database
from vectorflow.service.recover import BLOB_KINDS
from vectorflow.settings import Settings, redacted
from vectorflow.wiring import Parts, make_embedder, make_recipe

State = Literal["ok", "note", "broken"]

LIBRARIES = ("lancedb", "openvino", "onnxruntime", "pyarrow", "sqlalchemy", "psycopg")

PROBE = "How do refunds work?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How one part is."""

    part: str
    state: State
    text: str
    fix: str = ""


Check = Callable[[Settings], Awaitable[list[Finding]]]


async def examine(settings: Settings) -> list[Finding]:
    """Look at all parts, and make none that is not there yet."""
    findings = [_versions()]
    fresh = _ledger_file_missing(settings)
    checks: list[tuple[str, Check]] = [
        ("blobs", _blobs),
        ("store", _store),
        ("embedder", _embedder),
    ]
    if fresh:
        text = "there is no ledger yet; the first command that writes makes it"
        findings.append(Finding(part="ledger", state="ok", text=text))
    else:
        checks = [("ledger", _ledger), ("seat", _seat), *checks, ("work", _work)]
    for part, check in checks:
        try:
            findings += await check(settings)
        except VectorFlowError as error:
            findings.append(Finding(part=part, state="broken", text=error.message, fix=error.fix))
    return findings


def human(size: int) -> str:
    """Write bytes for people."""
    return ByteSize(size).human_readable(separator=" ")


def age(seconds: float) -> str:
    """Write how long ago something was."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"


def _versions() -> Finding:
    names = [f"vectorflow {__version__}", f"Python {platform.python_version()}"]
    for library in LIBRARIES:
        try:
            names.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            continue
    return Finding(part="versions", state="ok", text=", ".join(names))


def _ledger_file_missing(settings: Settings) -> bool:
    scheme, _, path = settings.database_url.partition(":///")
    return scheme == "sqlite" and not Path(path).exists()


async def _ledger(settings: Settings) -> list[Finding]:
    with closing(Database(settings.database_url)) as database:
        schema.check(database)
        revision = database.read_now(schema.current_revision)
        began = time.perf_counter()
        database.read_now(reads.now)
        took = time.perf_counter() - began
    where = redacted(settings.database_url)
    text = f"{where}, schema {revision}, answers in {took * 1000:.1f} ms"
    return [Finding(part="ledger", state="ok", text=text)]


async def _seat(settings: Settings) -> list[Finding]:
    pid = seat_holder(settings)
    text = f"process {pid} works on this data directory" if pid else "no worker runs here"
    return [Finding(part="seat", state="ok", text=text)]


async def _blobs(settings: Settings) -> list[Finding]:
    store = FileBlobStore(settings.data_dir / "blobs")
    free, floor = store.free_bytes() or 0, settings.blobs.free_floor_bytes
    sizes: list[str] = []
    for kind in BLOB_KINDS:
        total = sum([blob.size async for blob in store.list(kind)])
        sizes.append(f"{kind.rstrip('/')} {human(total)}")
    text = f"{human(free)} free; {', '.join(sizes)}"
    if free < floor:
        fix = f"free some space: below {human(floor)} new work is refused"
        return [Finding(part="blobs", state="broken", text=text, fix=fix)]
    return [Finding(part="blobs", state="ok", text=text)]


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


async def _work(settings: Settings) -> list[Finding]:
    async with Parts(settings) as parts:
        read = parts.database.read
        backlog = await read(reads.backlog)
        now = await read(reads.now)
        duties = await read(reads.duty_list)
        failed = len(await read(partial(reads.failures, tenant=parts.tenant)))
    ready = output.count(backlog.ready, "batch", "batches")
    waits = backlog.ready > 0 and not backlog.leased
    findings = [
        Finding(
            part="backlog",
            state="note" if waits else "ok",
            text=f"{ready} ready, {backlog.leased:,} leased",
            fix="start a worker: `vectorflow up`, or run `vectorflow embed` again" if waits else "",
        ),
        Finding(
            part="failures",
            state="note" if failed else "ok",
            text=f"{output.count(failed, 'document')} failed",
            fix="see `vectorflow failures`" if failed else "",
        ),
    ]
    return findings + [_duty(duty, now) for duty in duties]


def _duty(duty: reads.DutyView, now: float) -> Finding:
    ran = now - duty.last_run_at if duty.last_run_at else 0.0
    text = f"{duty.name} ran {age(ran)}: {duty.last_result or 'not done yet'}"
    return Finding(part="duty", state="ok", text=text)
