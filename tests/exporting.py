"""An engine to export from, what goes in and what comes out."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from vectorflow import settings
from vectorflow.domain.documents import BlobRange, content_hash
from vectorflow.flow import EmbedOptions, Progress, Report
from vectorflow.flow.engine import Engine
from vectorflow.ledger import exports, reads, submission
from vectorflow.ledger.database import Database
from vectorflow.ledger.exports import Exported
from vectorflow.ledger.new_versions import Accepted
from vectorflow.ledger.submission import NewJob
from vectorflow.service.vectors import Origin, export_index, export_job
from vectorflow.wiring import Parts

DIMENSIONS = 8

Row = dict[str, object]


@asynccontextmanager
async def opened(folder: Path, **more: object) -> AsyncIterator[Engine]:
    """Open an engine whose chunks are short and whose store is in memory."""
    given = {
        "data_dir": folder,
        "embedder": f"hash:{DIMENSIONS}",
        "store": f"memory://{uuid.uuid4().hex}",
        "chunking.size": 8,
        "chunking.overlap": 0,
        "blobs.free_floor_bytes": 0,
    }
    engine = Engine(settings.load(given | more, environ={}, directory=folder))
    async with engine.parts:
        yield engine


async def embed(
    engine: Engine, source: Mapping[str, str] | Path, *, allow_delete: bool = False, **metadata: str
) -> Report:
    """Embed texts by their ids, or a folder."""
    items = source
    if not isinstance(items, Path):
        items = [{"id": name, "text": text} for name, text in items.items()]
    chosen = EmbedOptions(metadata=metadata, allow_delete=allow_delete)
    return await engine.embed(items, chosen, _ignore)


async def origin_of(engine: Engine) -> Origin:
    """Where the default index is read from."""
    parts = engine.parts
    index = await parts.database.read(
        partial(reads.find_index, tenant="default", locator=parts.store_locator(), name="default")
    )
    assert index is not None
    return Origin(
        database=parts.database,
        blobs=parts.blobs,
        index=await exported(parts.database, index.id),
        store=partial(parts.store, parts.store_locator()),
    )


async def exported(database: Database, index: int) -> Exported:
    return await database.read(partial(exports.exported, index=index))


async def rows_of(tables: AsyncGenerator[pa.Table]) -> list[Row]:
    return [row async for table in tables for row in table.to_pylist()]


def of_job(origin: Origin, job: int, *, wait: bool = True) -> AsyncGenerator[pa.Table]:
    return export_job(origin, tenant="default", job=job, wait=wait)


async def job_rows(engine: Engine, job: int, *, wait: bool = True) -> list[Row]:
    return await rows_of(of_job(await origin_of(engine), job, wait=wait))


async def index_rows(engine: Engine, *ids: str, scope: str | None = None) -> list[Row]:
    origin = await origin_of(engine)
    return await rows_of(export_index(origin, scope=scope, external_ids=ids or None))


async def is_exact(engine: Engine, rows: Sequence[Mapping[str, object]]) -> bool:
    """Whether the vector of each row is what the embedder makes of its text."""
    wanted = (await engine.vectors([str(row["text"]) for row in rows])).matrix
    found = np.array([row["vector"] for row in rows], dtype=np.float32)
    return bool((found == wanted).all())


def long_text(chunks: int, word: str = "part") -> str:
    """Each heading begins a chunk."""
    return "\n\n".join(f"# {word} {number}\n\n{word} is {number}" for number in range(chunks))


async def new_job(engine: Engine) -> NewJob:
    """A request to embed into the default index, which is there."""
    await embed(engine, {"before": "before"})
    origin = await origin_of(engine)
    return NewJob(
        tenant="default", index=origin.index.id, pipeline=engine.parts.pipeline(), scope=""
    )


async def begin(engine: Engine) -> int:
    """Start a job whose listing goes on."""
    new = await new_job(engine)
    return (await engine.parts.database.write(partial(submission.start_job, new=new))).job


async def accepted(engine: Engine, name: str, text: str) -> Accepted:
    """A document whose bytes are kept."""
    data, key = text.encode(), f"uploads/{uuid.uuid4().hex}"
    await engine.parts.blobs.put(key, [data])
    return Accepted(
        external_id=name,
        uri="",
        raw_hash=content_hash(data),
        recipe_hash=engine.parts.pipeline().recipe.digest("text", {}),
        extractor="text",
        source=BlobRange(blob=key, start=0, length=len(data)),
    )


async def add(engine: Engine, job: int, texts: Mapping[str, str]) -> None:
    """Add documents to a job whose listing goes on."""
    items = [await accepted(engine, name, text) for name, text in texts.items()]
    await engine.parts.database.write(partial(submission.add_documents, job=job, accepted=items))


async def end(engine: Engine, job: int) -> None:
    """End the listing of a job."""
    await engine.parts.database.write(partial(submission.end_listing, job=job))


@asynccontextmanager
async def working(parts: Parts) -> AsyncIterator[None]:
    """Let a worker work meanwhile."""
    stop = asyncio.Event()
    worker = asyncio.create_task(parts.run_worker(stop))
    try:
        yield
    finally:
        stop.set()
        await worker


async def until_ended(parts: Parts, job: int) -> None:
    """Work until a job has ended."""
    read = partial(reads.job, tenant="default", id=job)
    async with asyncio.timeout(60), working(parts):
        while not (await parts.database.read(read)).state.ended:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - tests wait for what comes true elsewhere
            await asyncio.sleep(0.01)


def _ignore(_progress: Progress) -> None:
    """Nobody watches."""
