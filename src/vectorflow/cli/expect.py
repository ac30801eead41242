"""At which rank a search finds a document, and why it does not."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vectorflow.cli.report import served
from vectorflow.ledger import reads
from vectorflow.wiring import Parts

if TYPE_CHECKING:
    from vectorflow.ledger.reads import LiveDocument
    from vectorflow.service.search import Hit
    from vectorflow.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Where the document is that was expected."""

    document: str
    rank: int | None
    """Of its best chunk, counted from 1; None where it was not found."""
    score: float | None
    looked_at: int
    """Hits among which it was looked for."""
    sentence: str


def explain(settings: "Settings", name: str, hits: "Sequence[Hit]") -> Expected:
    """Find a document, by id or path, among hits; otherwise say why it is not there."""
    uri = Path(name).absolute().as_uri()
    for rank, hit in enumerate(hits, 1):
        found = hit.document
        if found.external_id == name or found.uri == uri:
            place = f"rank {rank} with chunk {hit.chunk.position}, score {hit.score:.2f}"
            return Expected(
                document=found.external_id,
                rank=rank,
                score=hit.score,
                looked_at=len(hits),
                sentence=f"{found.external_id} is at {place}",
            )
    sentence = asyncio.run(_why_absent(settings, name, uri, len(hits)))
    return Expected(document=name, rank=None, score=None, looked_at=len(hits), sentence=sentence)


async def _why_absent(settings: "Settings", name: str, uri: str, looked_at: int) -> str:
    async with Parts(settings) as parts:
        failures = await parts.database.read(partial(reads.failures, tenant=parts.tenant))
        live = await _live(parts, [name, Path(name).name])
    for document in live:
        if document.external_id == name or document.uri == uri:
            return (
                f"{document.external_id} is in the index, but not among the best {looked_at} hits: "
                "no chunk of it is near, or --filter keeps it out"
            )
    for failure in failures:
        if failure.external_id == name or failure.uri == uri:
            state = f"failed with {failure.code}, {served(failure)}"
            return f"{failure.external_id} {state}; fix: {failure.fix}"
    near = [document.external_id for document in live]
    guess = f"; did you mean {near[0]!r}?" if near else f"; run: vectorflow embed {name}"
    return f"{name} is not in index {settings.index!r}{guess}"


async def _live(parts: Parts, names: "Sequence[str]") -> "Sequence[LiveDocument]":
    find = partial(
        reads.find_index,
        tenant=parts.tenant,
        locator=parts.store_locator(),
        name=parts.settings.index,
    )
    row = await parts.database.read(find)
    if row is None:
        return []
    return await parts.database.read(
        partial(reads.live_documents, index=row.id, external_ids=names)
    )
