"""Compare the ledger with itself, with the blob store and with the vector stores; change nothing.

Work may go on meanwhile: what is about to be stored or deleted is no difference.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from vectorflow.domain.columns import strings
from vectorflow.errors import NotFound, VectorFlowError
from vectorflow.ledger import contents, duties, laws, reads
from vectorflow.ledger.contents import WrittenIndex
from vectorflow.ledger.database import Database
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.vector_store import Upkeep, VectorStore
from vectorflow.service.part_files import read_ids
from vectorflow.service.recover import BLOB_KINDS

SHOWN = 10
"""Examples of a difference."""

ASKED_AGAIN = 1000
"""Ids that a store is asked for by name, before they are called missing or left over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that is not as it must be."""

    where: str
    """`ledger`, `blobs`, or the name of an index."""
    what: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was compared, and what differs."""

    differences: tuple[Difference, ...]
    compared: tuple[str, ...]
    """Places, as in `Difference.where`."""
    unchecked: tuple[str, ...]
    """Indexes whose stores cannot list what they hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What is compared."""

    database: Database
    blobs: BlobStore
    open_store: Callable[[str], Awaitable[VectorStore]]
    """Opens a store by its locator."""
    vectors_seconds: float
    """How long delivered vectors are kept."""


class _Contents(NamedTuple):
    """Ids of an index at one moment."""

    live: list[str]
    under_way: set[str]


async def reconcile(places: Places, *, index: str | None = None) -> Report:
    """Compare everything; of the indexes all, or those of one name.

    Raises:
        NotFound: No store holds an index of that name.
        Unavailable: The ledger does not answer.
    """
    indexes = await places.database.read(partial(contents.stored_indexes, name=index))
    if index is not None and not indexes:
        message = f"no store holds an index {index!r}"
        raise NotFound(message, fix="`vectorflow reconcile` compares all there are")
    found = await broken_laws(places.database) + await missing_blobs(places)
    compared, unchecked = ["ledger", "blobs"], list[str]()
    for each in indexes:
        differences = await compare_index(places, each)
        (unchecked if differences is None else compared).append(each.name)
        found += differences or []
    return Report(differences=tuple(found), compared=tuple(compared), unchecked=tuple(unchecked))


async def broken_laws(database: Database) -> list[Difference]:
    """Compare the ledger with itself."""
    found = await database.read(laws.broken)
    return [
        _difference("ledger", f"not true: {law}", [str(row) for row in rows])
        for law, rows in found.items()
    ]


async def missing_blobs(places: Places) -> list[Difference]:
    """Look for blobs that the ledger needs and the blob store does not have."""
    needed = partial(duties.referenced_blobs, vectors_seconds=places.vectors_seconds)
    missing = await places.database.read(needed)
    for kind in BLOB_KINDS:
        async for blob in places.blobs.list(kind):
            missing.discard(blob.key)
    if missing:  # or needed no longer, and deleted while we looked
        missing &= await places.database.read(needed)
    gone = [key for key in sorted(missing) if not await _is_there(places.blobs, key)]
    return [_difference("blobs", "needed and not there", gone)] if gone else []


async def compare_index(places: Places, index: WrittenIndex) -> list[Difference] | None:
    """Compare the ids in a store with the live manifests; None where it cannot list them."""
    try:
        store = await places.open_store(index.locator)
        marker = await store.marker(index.name)
        if marker is None or marker.incarnation != index.incarnation:
            what = "the store lost the index, or holds another one of this name"
            return [_difference(index.name, what, [index.locator])]
        if not isinstance(store, Upkeep):
            return None
        return await _compare_ids(places, store, store.ids(index.name), index)
    except VectorFlowError as error:
        what = f"cannot be compared: {error.code}"
        return [_difference(index.name, what, [error.message])]


async def _compare_ids(
    places: Places, store: VectorStore, pages: AsyncIterator[Sequence[str]], index: WrittenIndex
) -> list[Difference]:
    """Look before and after the store is listed: only what is so both times must be there."""
    before = await _contents(places, index.id)
    listed = [key async for page in pages for key in page]
    after = await _contents(places, index.id)
    held = set(listed)
    missing = (set(before.live) & set(after.live)) - held
    known = {*before.live, *after.live} | before.under_way | after.under_way
    missing -= await _found(store, index.name, missing)
    extra = await _still_there(store, index.name, held - known)
    return [
        _difference(index.name, what, sorted(ids))
        for what, ids in (
            ("records are missing", missing),
            ("records are left over", extra),
            ("records are stored twice", _twice(listed)),
            ("records are in two manifests", _twice(after.live)),
        )
        if ids
    ]


async def _contents(places: Places, index: int) -> _Contents:
    live = await places.database.read(partial(reads.live_parts, index=index))
    moving = await places.database.read(partial(contents.parts_under_way, index=index))
    under_way = set[str]()
    for part in moving:
        try:
            under_way.update(await read_ids(places.blobs, [part]))
        except NotFound:  # it is done with by now
            continue
    return _Contents(await read_ids(places.blobs, live), under_way)


async def _found(store: VectorStore, index: str, ids: set[str]) -> set[str]:
    """Ask for ids by name that a listing did not have: not every store lists what is new."""
    some = sorted(ids)[:ASKED_AGAIN]
    return set(strings(await store.fetch(index, some), "id")) if some else set()


async def _still_there(store: VectorStore, index: str, ids: set[str]) -> set[str]:
    """Leave out what was deleted since it was listed."""
    asked = set(sorted(ids)[:ASKED_AGAIN])
    return ids - (asked - await _found(store, index, asked))


async def _is_there(blobs: BlobStore, key: str) -> bool:
    try:
        await blobs.read(key, 0, 1)
    except NotFound:
        return False
    return True


def _twice(ids: Sequence[str]) -> list[str]:
    if len(ids) == len(set(ids)):
        return []
    return sorted(key for key, count in Counter(ids).items() if count > 1)


def _difference(where: str, what: str, found: Sequence[str]) -> Difference:
    return Difference(where=where, what=what, count=len(found), examples=tuple(found[:SHOWN]))
