"""`POST /jobs`: many files in one request."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import Connection, select

from tests.unit.api.door import KEY, client_of, form, sentence, uploads_kept
from tests.unit.api.test_embed import external_ids, job_count
from vectorflow.adapters.blob_stores.memory import MemoryBlobStore
from vectorflow.api.backend import Backend
from vectorflow.api.intake import TAKEN_AT_ONCE
from vectorflow.domain.documents import content_hash
from vectorflow.errors import OutOfSpace, Unavailable
from vectorflow.ledger import uploads
from vectorflow.ledger.new_versions import Accepted
from vectorflow.ledger.submission import NewJob
from vectorflow.ledger.tables import documents, versions
from vectorflow.ledger.uploads import Taken
from vectorflow.ports.blob_store import BlobStore
from vectorflow.wiring import Parts

File = tuple[str, bytes]

A, B, C = ("a.txt", b"First text."), ("b.txt", b"Second text."), ("c.txt", b"Third text.")


async def send(
    client: httpx.AsyncClient, *files: File, key: str = "", **fields: object
) -> httpx.Response:
    headers = {"idempotency-key": key} if key else {}
    parts = [("file", file) for file in files]
    return await client.post("/jobs", data=form(**fields), files=parts, headers=headers)


async def jobs_of(client: httpx.AsyncClient, *files: File, key: str = "") -> dict[str, int]:
    answer = await send(client, *files, key=key)
    assert answer.status_code == 200, answer.text
    jobs: dict[str, int] = answer.json()["successful_uploads"]
    return jobs


def processed(jobs: dict[str, int], **counts: object) -> dict[str, object]:
    nothing: dict[str, object] = {
        "failed_uploads": [],
        "empty_files_count": 0,
        "duplicate_files_count": 0,
    }
    return {"message": "Files processed", "successful_uploads": jobs} | nothing | counts


async def test_each_file_gets_a_job_of_its_own(
    client: httpx.AsyncClient, parts: Parts, backend: Backend
) -> None:
    answer = await send(client, A, B, C)

    assert answer.headers["content-type"] == "application/json"
    jobs = answer.json()["successful_uploads"]
    assert answer.json() == processed(jobs)
    assert list(jobs) == ["a.txt", "b.txt", "c.txt"]
    assert all(type(job) is int for job in jobs.values())
    assert len(set(jobs.values())) == await job_count(parts) == 3
    names = select(documents.c.external_id, versions.c.job_id).where(
        documents.c.id == versions.c.document_id
    )

    def by_name(ledger: Connection) -> dict[str, int]:
        return {name: job for name, job in ledger.execute(names)}  # noqa: C416 - of rows

    assert await parts.database.read(by_name) == {
        f"{name}-{content_hash(text)}": jobs[name] for name, text in (A, B, C)
    }
    assert await uploads_kept(backend) == 3


async def test_files_that_are_empty_or_come_again_are_counted_and_not_kept(
    client: httpx.AsyncClient, parts: Parts, backend: Backend
) -> None:
    empty = [("none.txt", b""), ("blank.txt", b" \n\t"), ("mark.txt", b"\xef\xbb\xbf")]

    answer = await send(client, A, *empty, A, B, A)

    jobs = answer.json()["successful_uploads"]
    assert list(jobs) == ["a.txt", "b.txt"]
    assert answer.json() == processed(jobs, empty_files_count=3, duplicate_files_count=2)
    assert (await job_count(parts), await uploads_kept(backend)) == (2, 2)


async def test_only_empty_files_are_no_error(
    client: httpx.AsyncClient, parts: Parts, backend: Backend
) -> None:
    answer = await send(client, ("none.txt", b""))

    assert (answer.status_code, answer.json()) == (200, processed({}, empty_files_count=1))
    assert (await job_count(parts), await uploads_kept(backend)) == (0, 0)


async def test_another_file_of_a_name_is_another_document_with_a_number_in_the_answer(
    client: httpx.AsyncClient, parts: Parts
) -> None:
    files = [("same.txt", b"One."), ("same.txt", b"Two."), ("same.txt", b"Three."), A]

    jobs = await jobs_of(client, *files)

    assert list(jobs) == ["same.txt", "same.txt (2)", "same.txt (3)", "a.txt"]
    assert len(set(jobs.values())) == 4
    assert sorted(await external_ids(parts)) == sorted(
        f"{name}-{content_hash(text)}" for name, text in files
    )


async def test_the_same_text_under_another_name_is_no_duplicate(
    client: httpx.AsyncClient,
) -> None:
    assert list(await jobs_of(client, ("x.txt", A[1]), ("y.txt", A[1]))) == ["x.txt", "y.txt"]


@pytest.mark.parametrize("name", ["x" * 501, "new\nline.txt", "bell\a.txt", "\u202ecod.txt"])
async def test_a_name_that_cannot_be_kept_fails_alone(backend: Backend, name: str) -> None:
    """Written by hand: clients of HTTP would escape such names."""
    fields = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in form().items()
    )
    files = "".join(
        f'--x\r\nContent-Disposition: form-data; name="file"; filename="{one}"\r\n\r\n{one}\r\n'
        for one in (name, "good.txt")
    )
    body = f"{fields}{files}--x--\r\n".encode()
    headers = {"content-type": "multipart/form-data; boundary=x", "vectorflowkey": KEY}

    async with client_of(backend, **headers) as client:
        answer = await client.post("/jobs", content=body)

    assert answer.status_code in {200, 400}, answer.text
    if answer.status_code == 400:  # a line end in a name breaks the form itself
        assert "\n" in name
        return
    assert list(answer.json()["successful_uploads"]) == ["good.txt"]
    assert answer.json()["failed_uploads"] == [name[:500]]
    assert await uploads_kept(backend) == 1


async def test_names_are_data_only(client: httpx.AsyncClient, backend: Backend) -> None:
    names = ["../../etc/passwd", "/etc/passwd", "..", "C:boot.ini", "Grüße 世界.txt", "none"]

    jobs = await jobs_of(client, *[(name, name.encode()) for name in names])

    assert list(jobs) == names
    keys = [blob.key async for blob in backend.blobs.list("uploads/")]
    assert len(keys) == 6
    assert all(len(key) == len("uploads/") + 32 for key in keys)


async def test_the_same_request_again_under_its_key_is_answered_with_the_same_jobs(
    client: httpx.AsyncClient, parts: Parts, backend: Backend
) -> None:
    first = await send(client, A, B, A, ("none.txt", b""), key="once")

    again = await send(client, A, B, A, ("none.txt", b""), key="once")

    assert again.json() == first.json()
    assert (await job_count(parts), await uploads_kept(backend)) == (2, 2)


async def test_an_idempotency_key_holds_for_each_file(
    client: httpx.AsyncClient, parts: Parts, backend: Backend
) -> None:
    """As after an upload that broke off: what is known stays, what is other is refused alone."""
    first = await jobs_of(client, A, B, key="once")

    again = await send(client, A, ("b.txt", b"Other text."), C, key="once")

    jobs = again.json()["successful_uploads"]
    assert again.json() == processed(jobs, failed_uploads=["b.txt"])
    assert jobs["a.txt"] == first["a.txt"]
    assert list(jobs) == ["a.txt", "c.txt"]
    assert (await job_count(parts), await uploads_kept(backend)) == (3, 3)


async def test_keys_of_jobs_and_of_embed_do_not_meet(
    client: httpx.AsyncClient, parts: Parts
) -> None:
    jobs = await jobs_of(client, A, key="once")

    alone = await client.post(
        "/embed", data=form(), files={"SourceData": A}, headers={"idempotency-key": "once"}
    )

    assert alone.status_code == 200, alone.text
    assert alone.json()["JobID"] not in jobs.values()
    assert await job_count(parts) == 2


async def test_the_document_id_is_for_one_file_only(
    client: httpx.AsyncClient, parts: Parts
) -> None:
    await send(client, A, DocumentID="handbook")
    await send(client, B, C, DocumentID="handbook")

    assert sorted(await external_ids(parts)) == sorted(
        ["handbook", *(f"{name}-{content_hash(text)}" for name, text in (B, C))]
    )


@pytest.mark.slow
async def test_a_thousand_files_are_taken_and_one_more_is_refused(
    parts: Parts, backend: Backend
) -> None:
    files = [(f"{number}.txt", b"Text %d." % number) for number in range(1001)]
    quick = replace(backend, blobs=MemoryBlobStore())

    async with client_of(quick, vectorflowkey=KEY) as client:
        most = await jobs_of(client, *files[:1000])
        over = await send(client, *files)

    assert len(most) == await job_count(parts) == 1000
    assert "at most 1000 files" in sentence(over, 400)
    assert await uploads_kept(quick) == 1000


async def test_files_that_are_too_large_together_are_413_and_nothing_is_kept(
    backend: Backend, parts: Parts
) -> None:
    small = replace(backend, limits=replace(backend.limits, batch_bytes=1 << 20))
    half = b"a" * (1 << 19)

    async with client_of(small, vectorflowkey=KEY) as client:
        fits = await send(client, ("a", half), ("b", half))
        over = await send(client, *[(name, half) for name in "cdefgh"])

    assert fits.status_code == 200
    assert "VECTORFLOW_API__MAX_BATCH_BYTES" in sentence(over, 413)
    assert (await job_count(parts), await uploads_kept(backend)) == (2, 2)


async def test_a_file_larger_than_embed_takes_is_taken(
    client: httpx.AsyncClient, backend: Backend
) -> None:
    large = ("large.txt", b"text " * (backend.limits.upload_bytes // 4))

    alone = await client.post("/embed", data=form(), files={"SourceData": large})
    jobs = await jobs_of(client, large)

    assert "/jobs" in sentence(alone, 413)
    assert list(jobs) == ["large.txt"]


@pytest.mark.parametrize("part", ["SourceData", "files", "x"])
async def test_a_file_in_another_part_is_400(
    client: httpx.AsyncClient, backend: Backend, part: str
) -> None:
    answer = await client.post("/jobs", data=form(), files=[("file", A), (part, B)])

    assert "parts named file" in sentence(answer, 400)
    assert await uploads_kept(backend) == 0


async def test_a_request_without_files_is_400(client: httpx.AsyncClient) -> None:
    answer = await client.post("/jobs", files={name: (None, it) for name, it in form().items()})

    assert "file" in sentence(answer, 400)


@pytest.mark.parametrize(
    "fields", [{"EmbeddingsMetadata": None}, {"LinesPerBatch": "abc"}, {"VectorDBMetadata": "{"}]
)
async def test_a_form_that_cannot_be_met_is_400_and_no_file_is_kept(
    client: httpx.AsyncClient, parts: Parts, backend: Backend, fields: dict[str, object]
) -> None:
    sentence(await send(client, A, B, **fields), 400)

    assert (await job_count(parts), await uploads_kept(backend)) == (0, 0)


Take = Callable[[Connection, Sequence[tuple[NewJob, Accepted]]], list[Taken]]


def taking(monkeypatch: pytest.MonkeyPatch, *refused: str, committing: bool = False) -> None:
    """Let the ledger fall silent whenever it is to take one of these files."""
    real: Take = uploads.take_uploads

    def take(connection: Connection, uploads: Sequence[tuple[NewJob, Accepted]]) -> list[Taken]:
        silent = any(item.uri in refused for _, item in uploads)
        if silent and not committing:
            raise Unavailable("the database does not answer")
        taken = real(connection, uploads)
        if silent:
            connection.commit()
            raise Unavailable("the database does not answer")
        return taken

    monkeypatch.setattr(uploads, "take_uploads", take)


async def test_files_that_the_ledger_cannot_take_are_told_and_taken_the_next_time(
    client: httpx.AsyncClient, backend: Backend, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [(f"{number}.txt", b"Text %d." % number) for number in range(TAKEN_AT_ONCE + 2)]
    names = [name for name, _ in files]
    with monkeypatch.context() as patch:
        taking(patch, names[-1])
        answer = await send(client, *files, key="once")
    again = await jobs_of(client, *files, key="once")

    first = answer.json()["successful_uploads"]
    assert answer.json() == processed(first, failed_uploads=names[TAKEN_AT_ONCE:])
    assert list(first) == names[:TAKEN_AT_ONCE]
    assert first.items() < again.items()
    assert len(again) == await job_count(parts) == len(files)
    assert await uploads_kept(backend) == len(files) + 2  # two of them wait to be collected


async def test_where_no_file_can_be_taken_the_client_is_told_to_come_again(
    client: httpx.AsyncClient, backend: Backend, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        taking(patch, "a.txt", "b.txt", committing=True)
        answer = await send(client, A, B, key="once")
    again = await jobs_of(client, A, B, key="once")

    assert "database" in sentence(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert len(set(again.values())) == await job_count(parts) == 2
    assert await uploads_kept(backend) == 2


class FullAfter:
    """A blob store with room for so many files."""

    def __init__(self, blobs: BlobStore, room: int) -> None:
        self._blobs = blobs
        self._room = room
        self.list, self.delete, self.free_bytes = blobs.list, blobs.delete, blobs.free_bytes

    async def put(self, key: str, parts: object) -> int:
        self._room -= 1
        if self._room < 0:
            raise OutOfSpace(f"no room for blob {key!r}")
        return await self._blobs.put(key, parts)  # type: ignore[arg-type]


async def test_a_disk_that_fills_up_in_the_middle_is_503_and_keeps_nothing(
    backend: Backend, parts: Parts
) -> None:
    full = replace(backend, blobs=FullAfter(backend.blobs, 2))  # type: ignore[arg-type]

    async with client_of(full, vectorflowkey=KEY) as client:
        answer = await send(client, A, B, C)

    assert "no room" in sentence(answer, 503)
    assert (await job_count(parts), await uploads_kept(backend)) == (0, 0)
