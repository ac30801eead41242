"""Thousands of short documents: over HTTP one a request, and as files of a directory."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from benchmarks import corpus
from benchmarks.measuring import Goal, Options, Result, Row, answer_of, child
from benchmarks.provider import EMBEDDER, Provider, provider
from benchmarks.served import LOOK_SECONDS, Server, serving
from benchmarks.watching import progress

LATENCY = 0.1
AT_ONCE = 256
"""Requests that clients have open together."""
CHARACTERS = 1500
IDS_AT_ONCE = 1000
LONGEST = 300.0
KEY_OF_SERVER = "benchmark-key"


def measure(options: Options) -> Result:
    """Send documents one a request; then embed as many as files."""
    count = 300 if options.quick else 3000
    texts = corpus.equal_files(count, CHARACTERS, options.data / "corpus")
    files = sorted(path for path in texts.folder.rglob("*") if path.is_file())[:count]
    with provider(LATENCY) as there:
        sent = _send(there, files, options.data / "served")
        before = there.stats()
        process = child("counted", texts.folder, options.data / "embedded", **there.variables)
        embedded = answer_of(process)
        embedded["calls"] = there.stats()["calls"] - before["calls"]
    figures = {"served": sent, "embedded": embedded, "documents": len(files)}
    answered, done = sent["answered_per_second"], embedded["documents_per_second"]
    return Result(
        table=_table(sent, embedded, len(files)),
        figures=figures,
        goals=[
            Goal(what="/embed: documents a second, answered", value=answered, at_least=300),
            Goal(what="embed DIR: documents a second, searchable", value=done, at_least=1000),
        ],
        summary=(
            f"small_documents: {answered} documents a second answered by /embed and"
            f" {sent['done_per_second']} made searchable meanwhile; {done} by embed DIR"
        ),
        notes=[
            str(texts),
            f"{EMBEDDER} of a fake provider that answers after {LATENCY * 1000:.0f} ms",
            f"/embed: {AT_ONCE} requests open at once, one document each, API and worker apart",
            "every answer is durable, SQLite and files are synced",
        ],
    )


def _send(there: Provider, files: Sequence[Path], data: Path) -> dict[str, float]:
    variables = there.variables | {"INTERNAL_API_KEY": KEY_OF_SERVER}
    variables |= {"VECTORFLOW_OPENAI__KEY": there.variables["VECTORFLOW_OPENAI__KEY"]}
    with serving("up", data, **variables) as server:
        progress(f"sending {len(files)} documents, {AT_ONCE} at once")
        return asyncio.run(_load(server, there, files))


async def _load(server: Server, there: Provider, files: Sequence[Path]) -> dict[str, float]:
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    open_at_once = asyncio.Semaphore(AT_ONCE)
    headers = {"VectorFlowKey": KEY_OF_SERVER}
    async with aiohttp.ClientSession(server.url, connector=connector, headers=headers) as session:
        await _embed(session, "warm", "The first document makes the index.")
        calls = there.stats()["calls"]
        began = time.monotonic()
        lasted = await asyncio.gather(
            *(_timed(session, open_at_once, path.name, path.read_text("utf-8")) for path in files)
        )
        answered = time.monotonic() - began
        await _until_done(session, [job for job, _ in lasted])
        done = time.monotonic() - began
    times = sorted(seconds for _, seconds in lasted)
    return {
        "answered_per_second": round(len(files) / answered),
        "done_per_second": round(len(files) / done),
        "answer_p50": round(times[len(times) // 2], 3),
        "answer_p99": round(times[int(len(times) * 0.99)], 3),
        "calls": there.stats()["calls"] - calls,
    }


async def _timed(
    session: aiohttp.ClientSession, open_at_once: asyncio.Semaphore, name: str, text: str
) -> tuple[int, float]:
    async with open_at_once:
        began = time.monotonic()
        job = await _embed(session, name, text)
        return job, time.monotonic() - began


async def _embed(session: aiohttp.ClientSession, name: str, text: str) -> int:
    form = aiohttp.FormData()
    model = EMBEDDER.partition(":")[2]
    embeddings = {"embeddings_type": "OPEN_AI", "model": model, "chunk_size": 512}
    form.add_field("EmbeddingsMetadata", json.dumps(embeddings))
    form.add_field("VectorDBMetadata", '{"vector_db_type":"LANCEDB","index_name":"small"}')
    form.add_field("SourceData", text.encode(), filename=name)
    async with session.post("/embed", data=form) as answer:
        said = await answer.json()
        if answer.status != 200:
            message = f"the server answered {answer.status}: {said['error']}"
            raise RuntimeError(message)
        job: int = said["JobID"]
    return job


async def _until_done(session: aiohttp.ClientSession, jobs: Sequence[int]) -> None:
    waiting, ends = set(jobs), time.monotonic() + LONGEST
    while waiting:
        if time.monotonic() > ends:
            message = f"{len(waiting)} of {len(jobs)} jobs did not end in {LONGEST:.0f} s"
            raise RuntimeError(message)
        asked = {"JobIDs": sorted(waiting)[:IDS_AT_ONCE]}
        async with session.post("/jobs/status", json=asked) as answer:
            for one in (await answer.json())["Jobs"]:
                if one["JobStatus"] == "COMPLETED":
                    waiting.discard(one["JobID"])
                elif one["JobStatus"] == "FAILED":
                    message = f"job {one['JobID']} failed"
                    raise RuntimeError(message)
        await asyncio.sleep(LOOK_SECONDS)


def _table(sent: dict[str, float], embedded: dict[str, float], count: int) -> list[Row]:
    thousand = count / 1000

    def a_thousand(name: str) -> str:
        return f"{embedded[name] / thousand:.1f}"

    return [
        ("", "/embed", "embed DIR"),
        ("answered a second", f"{sent['answered_per_second']:,}", ""),
        (
            "searchable a second",
            f"{sent['done_per_second']:,}",
            f"{embedded['documents_per_second']:,}",
        ),
        ("answer p50, s", f"{sent['answer_p50']}", ""),
        ("answer p99, s", f"{sent['answer_p99']}", ""),
        ("provider calls per 1,000", f"{sent['calls'] / thousand:.1f}", a_thousand("calls")),
        ("store writes per 1,000", "", a_thousand("writes")),
        ("ledger commits per 1,000", "", a_thousand("commits")),
        ("files synced per 1,000", "", a_thousand("syncs")),
    ]
