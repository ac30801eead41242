"""What a vector from the cache costs, beside one from the local model."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

import vectorflow as vf
from benchmarks import corpus
from benchmarks.measuring import Goal, Options, Result, Row, cpu_seconds, middle
from benchmarks.watching import progress
from vectorflow.adapters.vector_caches.files import FileVectorCache
from vectorflow.domain.pipelines import Fingerprint
from vectorflow.domain.records import Matrix
from vectorflow.flow import Flow
from vectorflow.ports.vector_cache import CacheScope

SIZES = (384, 1536)
"""Dimensions of the local model, and of OpenAI's small one."""

AT_ONCE = 4096
"""Chunks of the largest batch."""

ROUNDS = 5
MOST_FOUND = 25.0
"""Microseconds of CPU: a thousandth of what the local model takes."""
MOST_KEPT = 100.0

Figures = dict[str, float]


def measure(options: Options) -> Result:
    """Look up in a cache alone; then embed the same files into two indexes."""
    held = 20_000 if options.quick else 200_000
    alone = {
        size: asyncio.run(_alone(options.data / str(size), size, held // (size // 384)))
        for size in SIZES
    }
    made = corpus.files(50_000 if options.quick else 500_000, options.data / "corpus")
    embedded = _embedded(made.folder, options.data / "data")
    found = max(figures["found"] for figures in alone.values())
    kept = max(figures["kept"] for figures in alone.values())
    return Result(
        table=_table(alone, embedded),
        figures={"alone": {str(size): of for size, of in alone.items()}, "embedded": embedded},
        goals=[
            Goal(what="CPU to find a vector, us", value=found, at_most=MOST_FOUND),
            Goal(what="CPU to keep a vector, us", value=kept, at_most=MOST_KEPT),
            Goal(what="chunks embedded again", value=embedded["again"], at_most=0),
        ],
        summary=(
            f"cache: {found:.1f} us of CPU to find a vector, {kept:.1f} us to keep it; a chunk from"
            f" file to store {embedded['first']:,.0f} us with the local model,"
            f" {embedded['second']:,.0f} us cached"
        ),
        notes=[
            str(made),
            f"{AT_ONCE} vectors at once, of up to {held}, at random; {ROUNDS} rounds, medians",
            "embedded: CPU of the whole process by chunk, the store and the ledger with it",
        ],
    )


async def _alone(folder: Path, dimensions: int, held: int) -> Figures:
    """Fill a cache, then find a part of it at random places."""
    model = Fingerprint(
        model="m", revision="1", dimensions=dimensions, pooling="mean", normalized=True
    )
    scope = CacheScope(ledger="ledger", tenant="default", fingerprint=model)
    cache = FileVectorCache(folder, max_bytes=8 << 30, max_age=1e6)
    random = np.random.default_rng(7)
    vectors: Matrix = random.standard_normal((AT_ONCE, dimensions), dtype=np.float32)
    keys = [hashlib.blake2b(b"%d" % at, digest_size=16).digest() for at in range(held)]
    kept: list[float] = []
    for start in range(0, held - AT_ONCE, AT_ONCE):
        some = keys[start : start + AT_ONCE]
        kept.append(await _cpu(lambda some=some: cache.keep(scope, some, vectors)))  # type: ignore[misc]
    last = len(kept) * AT_ONCE
    found, waited = [], []
    for turn in range(ROUNDS):
        progress(f"{dimensions} dimensions: round {turn + 1} of {ROUNDS}")
        asked = [keys[at] for at in random.choice(last, AT_ONCE, replace=False).tolist()]
        began = time.perf_counter()
        found.append(await _cpu(lambda asked=asked: cache.find(scope, asked)))  # type: ignore[misc]
        waited.append((time.perf_counter() - began) / AT_ONCE * 1e6)
    assert len((await cache.find(scope, keys[:AT_ONCE])).positions) == AT_ONCE  # noqa: S101
    await cache.close()
    return {"found": middle(found, 1), "waited": middle(waited, 1), "kept": middle(kept, 1)}


async def _cpu(call: Callable[[], Awaitable[object]]) -> float:
    """Give microseconds of CPU a vector, all threads together."""
    began = time.process_time()
    await call()
    return (time.process_time() - began) / AT_ONCE * 1e6


def _embedded(folder: Path, data: Path) -> Figures:
    with vf.open(data_dir=data) as flow:
        flow.embed({"id": "first", "text": "What loads the model."}, index="other")
        first, chunks = _embed(flow, folder, "one")
        second, again = _embed(flow, folder, "two")
    records = max(chunks, 1)
    return {
        "chunks": chunks,
        "again": again,
        "first": round(first / records * 1e6, 1),
        "second": round(second / records * 1e6, 1),
    }


def _embed(flow: Flow, folder: Path, index: str) -> tuple[float, int]:
    progress(f"index {index}")
    began = cpu_seconds()
    report = flow.embed(folder, index=index)
    return cpu_seconds() - began, report.chunks_embedded


def _table(alone: dict[int, Figures], embedded: Figures) -> list[Row]:
    rows: list[Row] = [("us a chunk", "CPU", "waited")]
    for size, of in alone.items():
        rows.append((f"find, {size} dimensions", f"{of['found']:.1f}", f"{of['waited']:.1f}"))
        rows.append((f"keep, {size} dimensions", f"{of['kept']:.1f}", ""))
    rows.append(("file to store, local model", f"{embedded['first']:,.0f}", ""))
    rows.append(("file to store, cached", f"{embedded['second']:,.0f}", ""))
    return rows
