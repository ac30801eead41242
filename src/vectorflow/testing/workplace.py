"""A ledger with workers that only pretend: for tests of the port `work` and of the ledger."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from vectorflow.domain.documents import BlobRange, content_hash
from vectorflow.domain.jobs import BatchKind, Lane
from vectorflow.domain.manifests import Part
from vectorflow.domain.pipelines import Chunking, Fingerprint, Pipeline, Recipe
from vectorflow.errors import VectorFlowError
from vectorflow.ledger import indexes, losses, reads, retrying, submission, transitions
from vectorflow.ledger.database import Database
from vectorflow.ledger.new_versions import Accepted
from vectorflow.ledger.reads import FailureView, JobView
from vectorflow.ledger.serving import Serving, serving
from vectorflow.ledger.submission import NewJob
from vectorflow.ports.work import Finished, Lease, NewAttached, NewPart, Usage, Work

TENANT = "default"

KINDS = (BatchKind.RETIRE, BatchKind.EMBED, BatchKind.EXTRACT)

RECIPE = Recipe(
    chunking=Chunking(chunker="default", size=200, overlap=20),
    chunker_revision=1,
    tokenizer="words",
    tokenizer_revision=1,
    fingerprint=Fingerprint(
        model="hash", revision="1", dimensions=8, pooling="none", normalized=True
    ),
    extractors={"text": 1},
)

PIPELINE = Pipeline(recipe=RECIPE, embedder="hash:8", store="memory://test", index="docs")

CAPABILITIES = dict(RECIPE.requires)
"""Of a worker that can do all of `PIPELINE`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """A ledger, and how to work for it."""

    database: Database
    worker: Callable[[str], Work]
    """Makes the port `work` for a worker of that name."""
    pass_time: Callable[[], None]
    """Lets all leases run out and all delays be over."""

    def index(self, pipeline: Pipeline = PIPELINE, tenant: str = TENANT) -> int:
        """Give the row of the index of a pipeline."""
        opened = partial(indexes.open_index, tenant=tenant, pipeline=pipeline)
        return self.database.write_now(opened).id

    def new_job(
        self,
        *,
        pipeline: Pipeline = PIPELINE,
        key: str | None = None,
        tenant: str = TENANT,
        lane: Lane = Lane.BULK,
    ) -> NewJob:
        """Give a request to embed, not yet made; other tenants have an index of their own."""
        if tenant != TENANT:
            pipeline = replace(pipeline, index=f"{pipeline.index}-{tenant}")
        return NewJob(
            tenant=tenant,
            lane=lane,
            index=self.index(pipeline, tenant),
            pipeline=pipeline,
            scope="",
            idempotency_key=key,
            request_hash=key and content_hash(key.encode()),
        )

    def submit(
        self,
        texts: Mapping[str, str],
        *,
        pipeline: Pipeline = PIPELINE,
        failures: Mapping[str, VectorFlowError] | None = None,
        tenant: str = TENANT,
        lane: Lane = Lane.BULK,
    ) -> int:
        """Make a job of documents, given by external id and text; its listing has ended."""
        items = [document(name, text) for name, text in texts.items()]
        items += [document(name, "", failure) for name, failure in (failures or {}).items()]
        new = self.new_job(pipeline=pipeline, tenant=tenant, lane=lane)
        return self.database.write_now(
            partial(submission.accept, new=new, accepted=items, total=len(items))
        )

    def delete(self, *names: str) -> int:
        """Make a job that deletes documents."""
        new = self.new_job()
        job = self.database.write_now(partial(submission.start_job, new=new)).job
        delete = partial(submission.delete_documents, job=job, gone=names, zombie_seconds=60.0)
        self.database.write_now(delete)
        self.database.write_now(partial(submission.end_listing, job=job))
        return job

    def reap(self) -> int:
        """Hand out again what nobody renewed."""
        return self.database.write_now(partial(losses.reap, zombie_seconds=60.0))

    def pause(self, job: int, tenant: str = TENANT) -> None:
        """Let a job wait."""
        self.database.write_now(partial(transitions.pause, tenant=tenant, job=job))

    def resume(self, job: int, tenant: str = TENANT) -> None:
        """Let a paused job go on."""
        self.database.write_now(partial(transitions.resume, tenant=tenant, job=job))

    def cancel(self, job: int, tenant: str = TENANT) -> int:
        """End a job."""
        cancel = partial(transitions.cancel, tenant=tenant, job=job, zombie_seconds=60.0)
        return self.database.write_now(cancel)

    def give_way(self) -> int:
        """Let newer versions begin in the place of those of paused jobs."""
        return self.database.write_now(partial(transitions.give_way, zombie_seconds=60.0))

    def set_rest_aside(self) -> int:
        """Set aside what became ready of paused jobs."""
        return self.database.write_now(transitions.set_rest_aside)

    def retry(self, job: int, *, cause: str | None = None, most: int | None = None) -> int:
        """Try again what failed in a job."""
        again = partial(retrying.retry, tenant=TENANT, job=job, cause=cause, most=most)
        return self.database.write_now(again)

    def job(self, id: int) -> JobView:
        """Read a job."""
        return self.database.read_now(partial(reads.job, tenant=TENANT, id=id))

    def failures(self, job: int) -> list[FailureView]:
        """Read the dead letters of a job."""
        return self.database.read_now(partial(reads.failures, tenant=TENANT, job=job))


@dataclass(slots=True)
class PretendWorker:
    """Ends batches as a worker would: each document has so many chunks, of which some are new."""

    work: Work
    rows: int = 3
    new_rows: int = 3
    by_name: Mapping[str, int] = field(default_factory=dict[str, int])
    """New rows of documents that are not like the others."""
    attached: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """Texts by file name of what it finds in documents, by external id."""

    async def run(self, *kinds: BatchKind) -> list[Lease]:
        """Work until nothing is left of these kinds; gives what it worked on."""
        done: list[Lease] = []
        while leases := await claim(self.work, *kinds):
            assert all(await self.work.finish([self.result(lease) for lease in leases]))
            done += leases
        return done

    def result(self, lease: Lease) -> Finished:
        """Give the end of a batch."""
        if lease.kind is BatchKind.EXTRACT:
            parts = [
                part_of(
                    version.id,
                    rows=self.rows,
                    new_rows=self.by_name.get(version.external_id, self.new_rows),
                    attached=self.attached.get(version.external_id),
                )
                for version in lease.versions
            ]
            return Finished(lease=lease, parts=tuple(parts))
        chunks = len(lease.versions) if lease.kind is BatchKind.EMBED else 0
        return Finished(lease=lease, usage=Usage(chunks_embedded=chunks, embedding_calls=1))


async def claim(work: Work, *kinds: BatchKind, limit: int = 100) -> Sequence[Lease]:
    """Claim as a worker does that can do everything."""
    return await work.claim(kinds or KINDS, CAPABILITIES, limit)


async def claim_one(work: Work, *kinds: BatchKind) -> Lease:
    """Claim the only batch that there is of these kinds."""
    (lease,) = await claim(work, *kinds)
    return lease


def names_of(leases: object) -> list[str]:
    """External ids of the documents of some leases, in order."""
    assert isinstance(leases, list | tuple)
    found: list[Lease] = [lease for lease in leases if isinstance(lease, Lease)]
    return [version.external_id for lease in found for version in lease.versions]


def serving_now(place: Workplace, *names: str, recipe: Recipe = RECIPE) -> Mapping[str, Serving]:
    """Read what is served of documents."""
    find = partial(serving, index=place.index(), scope="", ids=names, recipe=recipe)
    return place.database.read_now(find)


def document(name: str, text: str, failure: VectorFlowError | None = None) -> Accepted:
    """Give a document whose bytes are kept."""
    source = BlobRange(blob=f"uploads/{content_hash(text.encode())}", start=0, length=len(text))
    return Accepted(
        external_id=name,
        uri=f"file:///{name}",
        raw_hash=content_hash(text.encode()),
        recipe_hash=RECIPE.digest("text", {"team": "blue"}),
        extractor="text",
        source=None if failure else source,
        metadata={"team": "blue"},
        failure=failure,
    )


def attached_file(name: str, text: str) -> NewAttached:
    """Give a file that was found in a document; text that begins with `?` is read by nobody."""
    data = text.encode()
    known = not text.startswith("?")
    source = BlobRange(blob=f"attached/{content_hash(data)}", start=0, length=len(data))
    return NewAttached(
        name=name,
        raw_hash=content_hash(data),
        extractor="text" if known else "",
        source=source if known else None,
        reason="" if known else "it is a riddle",
        fix="" if known else "solve it",
    )


def part_of(
    version: int,
    number: int = 0,
    *,
    rows: int = 3,
    new_rows: int = 3,
    last: bool = True,
    attached: Mapping[str, str] | None = None,
) -> NewPart:
    """Give a part of a manifest; its rows are not really there.

    `attached` are the texts of what was found in the document, by name.
    """
    part = Part(
        number=number,
        blob=f"manifests/v{version}-{number}",
        row_start=0,
        rows=rows,
        resume_at=(number + 1) * 1000,
    )
    files = tuple(attached_file(name, text) for name, text in (attached or {}).items())
    return NewPart(version=version, part=part, new_rows=new_rows, last=last, attached=files)
