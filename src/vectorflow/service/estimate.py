"""Estimate: what an embed would do, without doing it."""

import asyncio
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from vectorflow.domain.attachments import MAX_DEPTH, clean_name
from vectorflow.domain.documents import Attached
from vectorflow.domain.formats import HEAD_BYTES
from vectorflow.errors import DocumentFailed, UnsupportedFormat
from vectorflow.ports.chunker import Chunker
from vectorflow.ports.extractor import Extractor
from vectorflow.service.cut import Cut, cut
from vectorflow.service.extract import Cutters
from vectorflow.service.submit import Intake, Raw, classify, gone_documents, groups, known_before


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What would be embedded and deleted."""

    documents: int
    new: int
    changed: int
    unchanged: int
    gone: int
    failed: int
    chunks: int
    """Chunks of new and changed documents; those that did not change cost nothing."""
    tokens: int


async def estimate(intake: Intake, cutters: Cutters) -> Estimate:
    """Read, cut and count; the price of changed documents is an upper bound."""
    listing = await asyncio.to_thread(lambda: list(intake.source.list()))
    gone, _ = await gone_documents(intake, listing)
    new = changed = unchanged = failed = chunks = tokens = 0
    for group in groups(listing):
        raws, same, broken = await classify(intake, group)
        before = await known_before(intake, [raw.listed.external_id for raw in raws])
        new += sum(raw.listed.external_id not in before for raw in raws)
        changed += sum(raw.listed.external_id in before for raw in raws)
        unchanged, failed = unchanged + same, failed + len(broken)
        for raw in raws:
            counted = await _count(intake, cutters, raw)
            chunks, tokens = chunks + counted[0], tokens + counted[1]
    return Estimate(
        documents=len(listing),
        new=new,
        changed=changed,
        unchanged=unchanged,
        gone=len(gone),
        failed=failed,
        chunks=chunks,
        tokens=tokens,
    )


async def _count(intake: Intake, cutters: Cutters, raw: Raw) -> tuple[int, int]:
    """Chunks and tokens of one document with what is attached to it; none for what would fail."""
    file = intake.source.open(raw.listed) if raw.data is None else BytesIO(raw.data)
    with file:
        return await _count_in(cutters, raw.extractor, file, 0)


async def _count_in(cutters: Cutters, name: str, file: BinaryIO, depth: int) -> tuple[int, int]:
    attached: list[Attached] = []
    try:
        async with cutters.extractor(name) as extractor:
            chunks, tokens = await asyncio.to_thread(
                _count_own, file, extractor, cutters.chunker, attached
            )
    except DocumentFailed:
        return 0, 0
    for piece in attached:
        more = await _count_attached(cutters, piece, depth + 1)
        chunks, tokens = chunks + more[0], tokens + more[1]
    return chunks, tokens


def _count_own(
    file: BinaryIO, extractor: Extractor, chunker: Chunker, attached: list[Attached]
) -> tuple[int, int]:
    """Chunks and tokens of a document alone; what is attached to it is put aside."""
    chunks = tokens = 0
    for found in cut(extractor.extract(file), chunker):
        if isinstance(found, Cut):
            chunks += len(found.stretch.texts)
            tokens += sum(found.stretch.tokens)
        else:
            attached.append(found)
    return chunks, tokens


async def _count_attached(cutters: Cutters, piece: Attached, depth: int) -> tuple[int, int]:
    if depth > MAX_DEPTH:
        return 0, 0
    try:
        extractor = cutters.detect(clean_name(piece.name), piece.data[:HEAD_BYTES])
    except UnsupportedFormat:
        return 0, 0
    return await _count_in(cutters, extractor, BytesIO(piece.data), depth)
