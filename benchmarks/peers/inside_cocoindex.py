"""The CocoIndex app of `inside.py`: files of a folder to rows of a LanceDB table."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cocoindex as coco
from cocoindex.connectors import lancedb, localfs
from cocoindex.ops.sentence_transformers import SentenceTransformerEmbedder
from cocoindex.ops.text import RecursiveSplitter
from cocoindex.resources.chunk import Chunk
from cocoindex.resources.file import FileLike
from cocoindex.resources.id import IdGenerator
from lancedb import connect as open_lancedb
from lancedb.db import AsyncConnection
from numpy.typing import NDArray

TABLE = "chunks"
DATABASE = coco.ContextKey[AsyncConnection]("database")
EMBEDDER = coco.ContextKey[SentenceTransformerEmbedder]("embedder")


@dataclass
class Row:
    """A chunk as it is stored."""

    id: int
    file: str
    text: str
    vector: Annotated[NDArray, EMBEDDER]


def make_app(
    model: Path, folder: Path, scratch: Path, chunk_bytes: int
) -> tuple[coco.App, Callable[[], Awaitable[object]]]:
    """Give the app, and what loads its model."""
    splitter = RecursiveSplitter()
    embedder = SentenceTransformerEmbedder(str(model), device="cpu")

    @coco.lifespan
    async def resources(builder: coco.EnvironmentBuilder) -> AsyncIterator[None]:
        builder.settings.db_path = scratch / "cocoindex.db"
        connection = await lancedb.connect_async(str(scratch / "lancedb"))
        builder.provide(DATABASE, connection)
        builder.provide(EMBEDDER, embedder)
        yield

    @coco.fn
    async def keep(
        chunk: Chunk, file: str, ids: IdGenerator, table: lancedb.TableTarget[Row]
    ) -> None:
        number = await ids.next_id(chunk.text)
        vector = await coco.use_context(EMBEDDER).embed(chunk.text)
        table.declare_row(row=Row(id=number, file=file, text=chunk.text, vector=vector))

    @coco.fn(memo=True)
    async def cut(file: FileLike, table: lancedb.TableTarget[Row]) -> None:
        chunks = splitter.split(await file.read_text(), chunk_size=chunk_bytes)
        await coco.map(keep, chunks, str(file.file_path.path), IdGenerator(), table)

    @coco.fn
    async def run(source: Path) -> None:
        schema = await lancedb.TableSchema.from_class(Row, primary_key=["id"])
        table = await lancedb.mount_table_target(DATABASE, TABLE, schema)
        await coco.mount_each(cut, localfs.walk_dir(source).items(), table)

    return coco.App(coco.AppConfig(name="peer"), run, source=folder), lambda: embedder.embed(
        "ready"
    )


def texts_of(scratch: Path) -> list[str]:
    """Read back what was stored."""
    table = open_lancedb(scratch / "lancedb").open_table(TABLE)
    return table.to_arrow()["text"].to_pylist()
