"""Estimate: what an embed would do, without doing it."""

import asyncio
from dataclasses import dataclass
from io import BytesIO

from vectorflow.errors import DocumentFailed
from vectorflow.service.cut import cut
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
            counted = await asyncio.to_thread(_count, intake, cutters, raw)
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


def _count(intake: Intake, cutters: Cutters, raw: Raw) -> tuple[int, int]:
    """Chunks and tokens of one document; none for what would fail."""
    name = raw.listed.external_id
    extractor = cutters.extractor(intake.request.detect(name))
    file = intake.source.open(raw.listed) if raw.data is None else BytesIO(raw.data)
    chunks = tokens = 0
    try:
        with file:
            for stretch, _ in cut(file, extractor, cutters.chunker):
                chunks, tokens = chunks + len(stretch.texts), tokens + sum(stretch.tokens)
    except DocumentFailed:
        return 0, 0
    return chunks, tokens
