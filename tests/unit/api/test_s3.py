"""`POST /s3`: the server fetches the file from an address."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx
import pytest

from tests.unit.api.door import KEY, a_file, client_of, form, sentence, uploads_kept
from tests.unit.api.test_embed import external_ids, job_count
from vectorflow.api.backend import Backend
from vectorflow.domain.documents import content_hash
from vectorflow.errors import HookRefused, TooLarge, Unavailable, VectorFlowError
from vectorflow.ports.hooks import Fetched
from vectorflow.wiring import Parts

SIGNED = "https://bucket.example/folder/rules.txt?X-Amz-Signature=0123456789abcdef"
TEXT = b"Some text."


@dataclass(slots=True, kw_only=True)
class Bucket:
    """Stands for the hooks: what is at an address, and what was asked."""

    blocks: tuple[bytes, ...] = (TEXT,)
    name: str = "rules.txt"
    error: VectorFlowError | None = None
    breaks: VectorFlowError | None = None
    """In the middle of the body."""
    asked: list[tuple[str, int]]

    @asynccontextmanager
    async def fetch(self, url: str, *, limit: int) -> AsyncIterator[Fetched]:
        self.asked.append((url, limit))
        if self.error:
            raise self.error
        yield Fetched(name=self.name, size=None, blocks=self._arriving())

    async def _arriving(self) -> AsyncGenerator[bytes]:
        for block in self.blocks:
            yield block
        if self.breaks:
            raise self.breaks


@asynccontextmanager
async def client_with(backend: Backend, bucket: Bucket) -> AsyncIterator[httpx.AsyncClient]:
    async def hooks() -> Bucket:
        return bucket

    fetching = replace(backend, hooks=hooks)  # type: ignore[arg-type]
    async with client_of(fetching, vectorflowkey=KEY) as client:
        yield client


async def send(
    client: httpx.AsyncClient, url: str = SIGNED, *, path: str = "/s3", key: str = "", **more: str
) -> httpx.Response:
    fields = {name: (None, value) for name, value in form(PreSignedURL=url, **more).items()}
    headers = {"idempotency-key": key} if key else {}
    return await client.post(path, files=fields, headers=headers)


@pytest.fixture
def bucket() -> Bucket:
    return Bucket(asked=[])


@pytest.mark.parametrize("path", ["/s3", "/embed"])
async def test_a_file_is_fetched_and_answered_as_one_that_was_sent(
    backend: Backend, parts: Parts, bucket: Bucket, path: str
) -> None:
    async with client_with(backend, bucket) as client:
        answer = await send(client, path=path)
        sent = await client.post("/embed", data=form(), files=a_file(TEXT, "rules.txt"))

    assert (answer.status_code, set(answer.json())) == (200, {"message", "JobID"})
    assert answer.json()["message"] == sent.json()["message"]
    assert bucket.asked == [(SIGNED, backend.limits.batch_bytes)]
    assert await external_ids(parts) == [f"rules.txt-{content_hash(TEXT)}"]


async def test_an_address_without_a_name_gives_a_name(
    backend: Backend, parts: Parts, bucket: Bucket
) -> None:
    bucket.name = ""

    async with client_with(backend, bucket) as client:
        assert (await send(client)).status_code == 200

    assert await external_ids(parts) == [f"fetched-{content_hash(TEXT)}"]


REFUSALS = [
    (HookRefused("the address at 'bucket.example' answered 403", fix="make a new one"), 400),
    (TooLarge("the file at 'bucket.example' is longer than 10 bytes"), 413),
    (Unavailable("'bucket.example' does not answer", retry_after=3.0), 503),
]


@pytest.mark.parametrize(("error", "status"), REFUSALS)
@pytest.mark.parametrize("late", [False, True])
async def test_what_cannot_be_fetched_is_told_and_leaves_nothing(
    backend: Backend,
    parts: Parts,
    bucket: Bucket,
    error: VectorFlowError,
    status: int,
    late: bool,
) -> None:
    if late:
        bucket.breaks = error
    else:
        bucket.error = error

    async with client_with(backend, bucket) as client:
        answer = await send(client)

    assert "bucket.example" in sentence(answer, status)
    assert "Signature" not in answer.text
    assert (await job_count(parts), await uploads_kept(backend)) == (0, 0)


@pytest.mark.parametrize("blocks", [(), (b"",), (b" \n", b"\t")])
async def test_an_empty_file_is_400(
    backend: Backend, bucket: Bucket, blocks: tuple[bytes, ...]
) -> None:
    bucket.blocks = blocks

    async with client_with(backend, bucket) as client:
        answer = await send(client)

    assert "no text" in sentence(answer, 400)
    assert await uploads_kept(backend) == 0


async def test_a_file_beyond_the_limit_is_413(backend: Backend, bucket: Bucket) -> None:
    bucket.blocks = (b"a" * 600,) * 2
    small = replace(backend, limits=replace(backend.limits, batch_bytes=1000))

    async with client_with(small, bucket) as client:
        answer = await send(client)

    assert "VECTORFLOW_API__MAX_BATCH_BYTES" in sentence(answer, 413)
    assert await uploads_kept(backend) == 0


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "PreSignedURL"),
        ("https://10.0.0.1/x", "VECTORFLOW_HOOKS__ALLOW"),
        ("https://169.254.169.254/latest/meta-data", "VECTORFLOW_HOOKS__ALLOW"),
        ("https://user:pass@bucket.example/x", "user name"),
        ("file:///etc/passwd", "https"),
        ("nonsense", "https"),
        ("https://bucket.example/" + "x" * 4096, "PreSignedURL is too long"),
    ],
)
async def test_an_address_that_may_not_be_called_is_400_and_is_not_called(
    backend: Backend, bucket: Bucket, url: str, says: str
) -> None:
    async with client_with(backend, bucket) as client:
        answer = await send(client, url)

    error = sentence(answer, 400)
    assert says in error
    assert "PreSignedURL" in error
    assert "pass@" not in error
    assert bucket.asked == []


async def test_a_file_and_an_address_at_once_are_400(backend: Backend, bucket: Bucket) -> None:
    async with client_with(backend, bucket) as client:
        answer = await client.post("/s3", data=form(PreSignedURL=SIGNED), files=a_file())

    assert "a file and a PreSignedURL" in sentence(answer, 400)
    assert await uploads_kept(backend) == 0


async def test_the_form_is_read_before_anything_is_fetched(
    backend: Backend, bucket: Bucket
) -> None:
    async with client_with(backend, bucket) as client:
        sentence(await send(client, LinesPerBatch="abc"), 400)

    assert bucket.asked == []


async def test_the_same_request_under_its_key_is_one_job(
    backend: Backend, parts: Parts, bucket: Bucket
) -> None:
    async with client_with(backend, bucket) as client:
        first = await send(client, key="once")
        again = await send(client, key="once")
        other = await send(client, key="once", DocumentID="other")

    assert again.json()["JobID"] == first.json()["JobID"]
    assert "new key" in sentence(other, 409)
    assert (await job_count(parts), await uploads_kept(backend)) == (1, 1)
