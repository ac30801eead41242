"""One tenant sends a flood of documents: how long does another wait for each of its own?"""

import asyncio
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import aiohttp

from benchmarks.databases import LEDGERS, NAMES
from benchmarks.measuring import Goal, Options, Result, Row, middle
from benchmarks.served import ENDED, LOCAL, Server, serving
from benchmarks.watching import progress
from vectorflow.ledger import keys
from vectorflow.ledger.database import Database

FLOOD, OTHER = "flood", "other"
FILES = 500
"""Of one request of the flood."""
REQUESTS = 4
"""Of the flood, open at once."""
LOOK_SECONDS = 0.05
PAUSE_SECONDS = 0.2
"""Between two documents of the other tenant."""
IDLE_SAMPLES = 20
LONGEST = 1800.0
"""Seconds that anything may take."""

ROUTES = {"interactive": ("/embed", "SourceData"), "bulk": ("/jobs", "file")}
"""Route and form part by lane."""


class Client(NamedTuple):
    """A tenant that sends documents into an index of its own."""

    tenant: str
    session: aiohttp.ClientSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """From the first byte sent to searchable, in seconds."""

    samples: int
    p50: float
    p99: float
    most: float


def measure(options: Options) -> Result:
    """Send documents with nothing else to do, then beside a flood."""
    count = options.documents or (1000 if options.quick else 10_000)
    data = options.data / "data"
    kind = options.database or "sqlite"
    with LEDGERS[kind](options.data / kind) as url:
        variables = {"VECTORFLOW_EMBEDDER": "hash:384", "VECTORFLOW_DATABASE__URL": url}
        with serving("up", data, **variables) as server:
            there = {tenant: _key(url, tenant) for tenant in (FLOOD, OTHER)}
            idle, flooded, seconds = asyncio.run(_run(server, there, count))
    figures = {
        "database": kind,
        "documents": count,
        "flood_seconds": round(seconds, 1),
        "idle": {lane: asdict(one) for lane, one in idle.items()},
        "flooded": {lane: asdict(one) for lane, one in flooded.items()},
    }
    most = max(one.p99 for one in flooded.values())
    return Result(
        table=_table(idle, flooded),
        figures=figures,
        goals=[
            Goal(
                what="interactive p99 beside a flood, s",
                value=flooded["interactive"].p99,
                at_most=5,
            ),
            Goal(what="bulk p99 beside a flood, s", value=flooded["bulk"].p99, at_most=15),
        ],
        summary=(
            f"flood: while a tenant's {count:,} documents take {seconds:,.0f} s, a document of"
            f" another is searchable after {flooded['interactive'].p50} s"
            f" (p99 {flooded['interactive'].p99}), a bulk one after {flooded['bulk'].p50} s"
            f" (p99 {flooded['bulk'].p99}); nobody waits longer than {most} s"
        ),
        notes=[
            f"the flood comes by /jobs, {FILES} files a request, {REQUESTS} requests at once",
            "the other tenant sends one document after the other, by /embed and /jobs in turns",
            f"embedder hash:384, LanceDB, {NAMES[kind]}, API and worker in one `vectorflow up`",
        ],
    )


def _key(url: str, tenant: str) -> str:
    """Make a key of a tenant."""
    database = Database(url)
    issue = partial(keys.issue_key, tenant=tenant, name="benchmark")
    made = database.write_now(issue).key
    database.close()
    return made


async def _run(
    server: Server, there: dict[str, str], count: int
) -> tuple[dict[str, Waited], dict[str, Waited], float]:
    def session(key: str) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(server.url, headers={"VectorFlowKey": key})

    async with (
        session(server.key) as own,
        session(there[FLOOD]) as one,
        session(there[OTHER]) as another,
    ):
        flood, other = Client(FLOOD, one), Client(OTHER, another)
        for client in (flood, other):
            await _waited(client, "bulk", "warm")
        progress("sending documents with nothing else to do")
        idle = await _samples(other, "idle", asyncio.Event())
        progress(f"sending {count:,} documents, and others beside them")
        over, began = asyncio.Event(), time.monotonic()
        sampling = asyncio.create_task(_samples(other, "flooded", over))
        await _send_flood(flood, count)
        await _until_done(own)
        seconds = time.monotonic() - began
        over.set()
        return idle, await sampling, seconds


async def _samples(client: Client, name: str, over: asyncio.Event) -> dict[str, Waited]:
    """Send one document after the other, in each lane in turns, until the flood is over."""
    took: dict[str, list[float]] = {lane: [] for lane in ROUTES}
    number = 0
    while not over.is_set() and not (name == "idle" and number >= IDLE_SAMPLES):
        for lane, seconds in took.items():
            seconds.append(await _waited(client, lane, f"{name}-{number}"))
        number += 1
        await asyncio.sleep(PAUSE_SECONDS)
    return {lane: _summed_up(seconds) for lane, seconds in took.items()}


async def _waited(client: Client, lane: str, name: str) -> float:
    """Send a document and wait until it is searchable.

    Raises:
        RuntimeError: It failed, or is not in `LONGEST`.
    """
    route, part = ROUTES[lane]
    file = f"{lane}-{name}.txt"
    began = time.monotonic()
    said = await _post(client, route, part, [file])
    job = said["JobID"] if lane == "interactive" else said["successful_uploads"][file]
    while (now := await _status(client.session, job)) not in ENDED:
        if time.monotonic() - began > LONGEST:
            break
        await asyncio.sleep(LOOK_SECONDS)
    if now != "COMPLETED":
        message = f"job {job} is {now}"
        raise RuntimeError(message)
    return time.monotonic() - began


async def _send_flood(client: Client, count: int) -> None:
    at_once = asyncio.Semaphore(REQUESTS)

    async def send(start: int) -> None:
        async with at_once:
            names = [f"{number}.txt" for number in range(start, min(start + FILES, count))]
            said = await _post(client, "/jobs", "file", names)
            assert len(said["successful_uploads"]) == len(names)  # noqa: S101 - or it is no flood

    await asyncio.gather(*(send(start) for start in range(0, count, FILES)))


async def _post(client: Client, route: str, part: str, names: Sequence[str]) -> dict[str, Any]:
    form = aiohttp.FormData()
    form.add_field("EmbeddingsMetadata", LOCAL)
    index = {"vector_db_type": "LANCEDB", "index_name": client.tenant}
    form.add_field("VectorDBMetadata", json.dumps(index))
    for name in names:
        form.add_field(part, f"What is said in {name}. ".encode() * 20, filename=name)
    async with client.session.post(route, data=form) as answer:
        said: dict[str, Any] = await answer.json()
        if answer.status != 200:
            message = f"the server answered {answer.status}: {said['error']}"
            raise RuntimeError(message)
    return said


async def _status(session: aiohttp.ClientSession, job: int) -> str:
    async with session.get(f"/jobs/{job}/status") as answer:
        said: str = (await answer.json())["JobStatus"]
    return said


async def _until_done(session: aiohttp.ClientSession) -> None:
    """Wait until of the bulk lane nothing is left but what the other tenant sends."""
    ends = time.monotonic() + LONGEST
    while time.monotonic() < ends:
        async with session.get("/v1/backlog") as answer:
            bulk = (await answer.json())["lanes"]["bulk"]
        left = sum(line["ready"] + line["leased"] for line in bulk.values())
        if left <= 1:
            return
        await asyncio.sleep(LOOK_SECONDS * 4)
    message = f"the flood was not over in {LONGEST:.0f} s"
    raise RuntimeError(message)


def _summed_up(seconds: list[float]) -> Waited:
    ordered = sorted(seconds)
    return Waited(
        samples=len(ordered),
        p50=middle(ordered),
        p99=round(ordered[math.ceil(0.99 * len(ordered)) - 1], 3),
        most=round(ordered[-1], 3),
    )


def _table(idle: dict[str, Waited], flooded: dict[str, Waited]) -> list[Row]:
    rows: list[Row] = [("seconds to searchable", "documents", "p50", "p99", "longest")]
    for lane in ROUTES:
        for name, found in (("nothing else to do", idle), ("beside the flood", flooded)):
            one = found[lane]
            rows.append(
                (f"{lane}, {name}", f"{one.samples}", f"{one.p50}", f"{one.p99}", f"{one.most}")
            )
    return rows
