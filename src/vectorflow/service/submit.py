"""Submit: documents of a source -> durable blobs, a job, and its first batches."""

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import BinaryIO, NamedTuple

from vectorflow.domain.documents import BlobRange, Listed, content_hash
from vectorflow.domain.formats import HEAD_BYTES
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import (
    DocumentFailed,
    InvalidInput,
    OutOfSpace,
    UnreadableSource,
    VectorFlowError,
)
from vectorflow.ledger import submission
from vectorflow.ledger.database import Database
from vectorflow.ledger.new_versions import Accepted
from vectorflow.ledger.serving import Serving, serving
from vectorflow.ledger.submission import NewJob
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.source import Source

GROUP_DOCUMENTS = 256
GROUP_BYTES = 4 << 20
"""Documents share a blob and a batch up to this many bytes; larger ones travel alone."""

READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be embedded, and how."""

    tenant: str
    index: int
    """Row of the index in the ledger."""
    pipeline: Pipeline
    scope: str = ""
    """Empty for documents that no listing ever deletes."""
    complete: bool = False
    """The source lists its scope whole: what it no longer lists is gone."""
    allow_delete: bool = False
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    """Kept on every record."""
    detect: Callable[[str, bytes], str]
    """Name and first bytes of a document -> its extractor; raises UnsupportedFormat."""
    zombie_seconds: float
    """A lease plus a store call: the longest a lost worker may still write."""
    free_floor: int
    """Bytes that must stay free where blobs are kept."""
    lister: str | None = None
    """Lock of this process, see `listings`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A request with the source it draws from and the places it goes to."""

    database: Database
    blobs: BlobStore
    source: Source
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """How far a listing is."""

    documents: int
    seen: int = 0
    accepted: int = 0
    unchanged: int = 0
    gone: int = 0
    failed: int = 0


class Raw(NamedTuple):
    """A document that was read: its bytes, or None for one too large to hold."""

    listed: Listed
    extractor: str
    digest: str
    data: bytes | None


async def submit(intake: Intake, on_scan: Callable[[Scan], None]) -> int:
    """Accept the documents of a source, group by group, and give the job.

    What was accepted is durable and will be embedded even if this process dies; a listing that
    breaks off never deletes anything.

    Raises:
        InvalidInput: Nothing to embed, or more would be deleted than is allowed.
        OutOfSpace: Nothing more was accepted.
    """
    database, request = intake.database, intake.request
    listing = await asyncio.to_thread(lambda: list(intake.source.list()))
    gone = await _gone(intake, listing)
    job = await _start(database, request)
    scan = Scan(documents=len(listing))
    alive = asyncio.create_task(_stay_alive(database, job))
    try:
        for group in groups(listing):
            scan = await _submit_group(intake, job, group, scan)
            on_scan(scan)
        if gone:
            delete = partial(submission.delete_documents, job=job, gone=gone)
            await database.write(partial(delete, zombie_seconds=request.zombie_seconds))
            on_scan(replace(scan, gone=len(gone)))
    except BaseException as error:
        await database.write(partial(submission.end_listing, job=job, error=_broke_off(error)))
        raise
    finally:
        alive.cancel()
    await database.write(partial(submission.end_listing, job=job))
    return job


async def classify(intake: Intake, group: Sequence[Listed]) -> tuple[list[Raw], int, list[Listed]]:
    """Read a group and tell what is new or changed, how much is not, and what cannot be read."""
    request = intake.request
    raws, broken = await asyncio.to_thread(_read_group, intake.source, group, request.detect)
    known = await intake.database.read(
        partial(
            serving,
            index=request.index,
            scope=request.scope,
            ids=[raw.listed.external_id for raw in raws],
            recipe=request.pipeline.recipe,
        )
    )
    changed = [raw for raw in raws if not _serves(known, _accepted(request, raw))]
    return changed, len(raws) - len(changed), broken


async def known_before(intake: Intake, ids: Sequence[str]) -> set[str]:
    """Which of these documents the ledger serves already."""
    request = intake.request
    find = partial(serving, index=request.index, scope=request.scope, ids=ids)
    return set(await intake.database.read(partial(find, recipe=request.pipeline.recipe)))


async def gone_documents(intake: Intake, listing: Sequence[Listed]) -> tuple[list[str], int]:
    """External ids that the scope held and the listing lacks, and how many it held.

    A listing with a failure is not complete, and nothing is gone by it.
    """
    request = intake.request
    incomplete = any(listed.failure for listed in listing)
    if not request.complete or incomplete:
        return [], 0
    held = await intake.database.read(
        partial(submission.in_scope, index=request.index, scope=request.scope)
    )
    listed_ids = {listed.external_id for listed in listing}
    return [name for name in held if name not in listed_ids], len(held)


async def _gone(intake: Intake, listing: Sequence[Listed]) -> list[str]:
    request = intake.request
    gone, held = await gone_documents(intake, listing)
    if not listing and not gone:
        message = "there is nothing to embed here"
        raise InvalidInput(message, fix="name a file, or a directory with files in it")
    if len(gone) * 2 > held and not request.allow_delete:
        message = f"{len(gone)} of {held} documents of scope {request.scope!r} are gone"
        raise InvalidInput(
            message, fix="check the path; add --allow-delete if they should be deleted"
        )
    return gone


async def _start(database: Database, request: Request) -> int:
    new = NewJob(
        tenant=request.tenant,
        index=request.index,
        pipeline=request.pipeline,
        scope=request.scope,
        lister=request.lister,
    )
    started = await database.write(partial(submission.start_job, new=new))
    return started.job


async def _stay_alive(database: Database, job: int) -> None:
    """Renew the listing's lease while a large file is read or nothing has changed."""
    while True:
        await asyncio.sleep(submission.LISTING_SECONDS / 4)
        await database.write(partial(submission.keep_listing, job=job))


async def _submit_group(intake: Intake, job: int, group: Sequence[Listed], scan: Scan) -> Scan:
    changed, unchanged, broken = await classify(intake, group)
    accepted = await _keep(intake, changed)
    accepted += [_failed(listed) for listed in broken]
    add = partial(submission.add_documents, job=job, accepted=accepted, unchanged=unchanged)
    await intake.database.write(add)
    return replace(
        scan,
        seen=scan.seen + len(group),
        accepted=scan.accepted + len(changed),
        unchanged=scan.unchanged + unchanged,
        failed=scan.failed + len(broken),
    )


async def _keep(intake: Intake, raws: Sequence[Raw]) -> list[Accepted]:
    """Make the bytes durable: small documents in one blob, each large one in its own."""
    await asyncio.to_thread(check_room, intake.blobs, intake.request.free_floor)
    accepted: list[Accepted] = []
    small = [raw for raw in raws if raw.data is not None]
    key = _upload_key()
    if small:
        await intake.blobs.put(key, [raw.data or b"" for raw in small])
    start = 0
    for raw in raws:
        if raw.data is None:
            accepted.append(await _keep_large(intake, raw))
            continue
        place = BlobRange(blob=key, start=start, length=len(raw.data))
        accepted.append(replace(_accepted(intake.request, raw), source=place))
        start += len(raw.data)
    return accepted


def check_room(blobs: BlobStore, floor: int) -> None:
    """Refuse new work before the disk is full, so that what is under way can end.

    Raises:
        OutOfSpace: Less than `floor` bytes are free.
    """
    free = blobs.free_bytes()
    if free is not None and free < floor:
        message = f"{free >> 20} MiB are free on the disk of the data directory"
        raise OutOfSpace(
            message, fix=f"free some until there are {floor >> 20} MiB, then try again"
        )


async def _keep_large(intake: Intake, raw: Raw) -> Accepted:
    """Stream one document; its hash is of what was kept, should it change meanwhile."""
    key = _upload_key()
    digest = hashlib.blake2b(digest_size=16)
    with await asyncio.to_thread(intake.source.open, raw.listed) as file:
        length = await intake.blobs.put(key, _hashed_blocks(file, digest))
    item = _accepted(intake.request, raw._replace(digest=digest.hexdigest()))
    return replace(item, source=BlobRange(blob=key, start=0, length=length))


def _hashed_blocks(file: BinaryIO, digest: "hashlib.blake2b") -> Iterator[bytes]:
    while block := file.read(READ_BYTES):
        digest.update(block)
        yield block


def _upload_key() -> str:
    return f"uploads/{uuid.uuid4().hex}"


def groups(listing: Sequence[Listed]) -> Iterator[list[Listed]]:
    """Cut a listing into groups; a document over the limit is a group of its own."""
    group: list[Listed] = []
    size = 0
    for listed in listing:
        if group and (len(group) == GROUP_DOCUMENTS or size + listed.size > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(listed)
        size += listed.size
    if group:
        yield group


def _read_group(
    source: Source, group: Sequence[Listed], detect: Callable[[str, bytes], str]
) -> tuple[list[Raw], list[Listed]]:
    raws: list[Raw] = []
    broken: list[Listed] = []
    for listed in group:
        try:
            raws.append(_read(source, listed, detect))
        except DocumentFailed as error:
            broken.append(replace(listed, failure=error))
        except OSError as error:
            failure = UnreadableSource(f"{listed.external_id!r} cannot be read: {error.strerror}")
            broken.append(replace(listed, failure=failure))
    return raws, broken


def _read(source: Source, listed: Listed, detect: Callable[[str, bytes], str]) -> Raw:
    """Read and hash one document; only small ones are held."""
    if listed.failure is not None:
        raise listed.failure
    with source.open(listed) as file:
        data = file.read(GROUP_BYTES + 1)
        extractor = detect(listed.external_id, data[:HEAD_BYTES])
        if len(data) <= GROUP_BYTES:
            return Raw(listed, extractor, content_hash(data), data)
        digest = hashlib.blake2b(data, digest_size=16)
        for _ in _hashed_blocks(file, digest):
            pass
        return Raw(listed, extractor, digest.hexdigest(), None)


def _accepted(request: Request, raw: Raw) -> Accepted:
    metadata = dict(request.metadata) | dict(raw.listed.metadata)
    return Accepted(
        external_id=raw.listed.external_id,
        uri=raw.listed.uri,
        raw_hash=raw.digest,
        recipe_hash=request.pipeline.recipe.digest(raw.extractor, metadata),
        extractor=raw.extractor,
        source=BlobRange(blob="", start=0, length=0),
        metadata=metadata,
    )


def _failed(listed: Listed) -> Accepted:
    return Accepted(
        external_id=listed.external_id,
        uri=listed.uri,
        raw_hash="",
        recipe_hash="",
        extractor="",
        source=None,
        failure=listed.failure,
    )


def _serves(known: Mapping[str, Serving], item: Accepted) -> bool:
    """The live version was made of the same bytes by the same recipe."""
    same = known.get(item.external_id)
    return same is not None and same.equals(item)


def _broke_off(error: BaseException) -> dict[str, object]:
    """Say in the job why its listing ended early."""
    if isinstance(error, VectorFlowError):
        return {"code": error.code, "message": error.message, "fix": error.fix}
    return submission.LISTING_BROKE_OFF
