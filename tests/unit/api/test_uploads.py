import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request

from tests.unit.api.door import KEY, client_of, form, sentence, uploads_kept
from vectorflow.adapters.blob_stores.memory import MemoryBlobStore
from vectorflow.api.backend import Backend, Limits
from vectorflow.api.uploads import Form, Rules, receive_form
from vectorflow.domain.documents import content_hash
from vectorflow.errors import InvalidInput

LIMITS = Limits(upload_bytes=1 << 20, batch_bytes=1 << 20, free_floor_bytes=0)
ALONE = Rules(part="SourceData", files=1, file_bytes=1 << 20, body_bytes=1 << 20)
PLAIN = 'form-data; name="SourceData"; filename="a.txt"'


def part(disposition: str, data: bytes, *more: str) -> bytes:
    lines = [f"Content-Disposition: {disposition}", *more]
    return b"--edge\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + data + b"\r\n"


def request_of(blocks: list[bytes], kind: str = "multipart/form-data; boundary=edge") -> Request:
    messages = [{"type": "http.request", "body": block, "more_body": True} for block in blocks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    waiting = iter(messages)

    async def receive() -> dict[str, object]:
        return next(waiting, {"type": "http.disconnect"})

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}
    return Request(scope, receive)  # type: ignore[arg-type]


async def received(*parts: bytes, blobs: MemoryBlobStore | None = None) -> Form:
    body = [*parts, b"--edge--\r\n"]
    return await receive_form(request_of(body), blobs or MemoryBlobStore(), LIMITS, ALONE)


def pieces(body: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    for start, end in pairwise(edges):
        yield body[start:end]


@given(
    data=st.binary(max_size=200) | st.sampled_from([b"\r\n--edge", b"--edge--", b"\r\n--edg\r\n-"]),
    value=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50),
    cuts=st.lists(st.integers(0, 1000), max_size=20),
)
async def test_a_form_comes_out_as_it_was_sent_however_it_is_cut(
    data: bytes, value: str, cuts: list[int]
) -> None:
    if b"\r\n--edge" in b"\r\n" + data or "--edge" in value:
        return
    blobs = MemoryBlobStore()
    body = part('form-data; name="First"', value.encode()) + part(PLAIN, data)
    body += part('form-data; name="Last"', b"after the file") + b"--edge--\r\nepilogue"

    form_ = await receive_form(request_of(list(pieces(body, cuts))), blobs, LIMITS, ALONE)

    [upload] = form_.files
    assert form_.fields == {"First": value, "Last": "after the file"}
    assert (upload.name, upload.size, upload.digest) == ("a.txt", len(data), content_hash(data))
    assert await blobs.read(upload.blob) == data
    if data[:1] not in (b"\xef", b"\xff", b"\xfe"):  # what begins a byte order mark
        assert upload.blank == (not data.strip())


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ('filename="a.txt"', "a.txt"),
        ("filename=a.txt", "a.txt"),
        ('filename="Grüße.txt"', "Grüße.txt"),
        ("filename*=utf-8''Gr%C3%BC%C3%9Fe.txt", "Grüße.txt"),
        ("filename=\"plain.txt\"; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt", "plain.txt"),
        ('filename="../../x"', "../../x"),
        ('filename=""', ""),
    ],
)
async def test_a_file_has_the_name_it_was_sent_with(parameter: str, name: str) -> None:
    form_ = await received(part(f'form-data; name="SourceData"; {parameter}', b"text"))

    assert [upload.name for upload in form_.files] == [name]


@pytest.mark.parametrize(
    "body",
    [
        [],
        [b"nonsense"],
        [b"--edge--\r\n"],
        [b"--edge\r\nNo-Disposition: x\r\n\r\ntext\r\n--edge--\r\n"],
        [part("form-data", b"no name"), b"--edge--\r\n"],
        [part(PLAIN, b"text")],
        [part(PLAIN, b"text")[:-10]],
        [b"--edge\r\nContent-Disposition: form-data; na"],
        [b"--edge\r\n" + b"X: y\r\n" * 100],
        [b"--edge\r\nX: " + b"y" * 100_000],
        [part('form-data; name="a"', b"1"), part('form-data; name="a"', b"2"), b"--edge--\r\n"],
        [part('form-data; name="a"', b"\xff\xfe"), b"--edge--\r\n"],
        [part(PLAIN, b"1"), part(PLAIN, b"2"), b"--edge--\r\n"],
        [part(PLAIN.replace("SourceData", "file"), b"1"), b"--edge--\r\n"],
    ],
)
async def test_a_broken_form_is_refused_and_nothing_of_it_is_kept(body: list[bytes]) -> None:
    blobs = MemoryBlobStore()

    if body == [b"--edge--\r\n"]:  # no part at all is a form, an empty one
        assert (await receive_form(request_of(body), blobs, LIMITS, ALONE)).files == []
        return
    with pytest.raises(InvalidInput):
        await receive_form(request_of(body), blobs, LIMITS, ALONE)

    assert [blob async for blob in blobs.list("uploads/")] == []


async def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    blobs = MemoryBlobStore()
    request = request_of([part(PLAIN, b"text")[:-10]])
    gone = iter([await request.receive(), {"type": "http.disconnect"}])

    async def receive() -> dict[str, object]:
        return next(gone)  # type: ignore[return-value]

    with pytest.raises(ClientDisconnect):
        await receive_form(
            Request(request.scope, receive),  # type: ignore[arg-type]
            blobs,
            LIMITS,
            ALONE,
        )

    assert [blob async for blob in blobs.list("uploads/")] == []


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/json", "application/x-www-form-urlencoded", "multipart/mixed"],
)
async def test_a_body_that_is_no_form_is_415(client: httpx.AsyncClient, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}

    answer = await client.post("/embed", content=b"a=b", headers=headers)

    assert "multipart/form-data" in sentence(answer, 415)


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"multipart/form-data; boundary={'x' * 300}",
    ],
)
async def test_a_form_without_a_usable_boundary_is_400(
    client: httpx.AsyncClient, kind: str
) -> None:
    sentence(await client.post("/embed", content=b"x", headers={"content-type": kind}), 400)


def endless(sent: list[int], head: bytes = part(PLAIN, b"")[:-2]) -> AsyncIterator[bytes]:
    """A body without end; `sent` counts its blocks."""

    async def blocks() -> AsyncIterator[bytes]:
        yield head
        while True:
            sent.append(1)
            yield b"x" * 65536

    return blocks()


FORM = {"content-type": "multipart/form-data; boundary=edge"}


async def test_a_file_is_refused_as_soon_as_it_is_too_large(
    client: httpx.AsyncClient, backend: Backend
) -> None:
    sent: list[int] = []

    answer = await client.post("/embed", content=endless(sent), headers=FORM)

    assert "1048576 bytes" in sentence(answer, 413)
    assert len(sent) == 17
    assert await uploads_kept(backend) == 0


async def test_a_file_of_just_the_limit_is_taken(
    client: httpx.AsyncClient, backend: Backend
) -> None:
    limit = backend.limits.upload_bytes

    fits = await client.post("/embed", data=form(), files={"SourceData": ("a.txt", b"a" * limit)})
    over = await client.post(
        "/embed", data=form(), files={"SourceData": ("a.txt", b"a" * (limit + 1))}
    )

    assert fits.status_code == 200
    sentence(over, 413)


async def test_a_length_that_is_too_large_is_refused_unread(client: httpx.AsyncClient) -> None:
    sent: list[int] = []
    headers = FORM | {"content-length": str(1 << 40)}

    answer = await client.post("/embed", content=endless(sent), headers=headers)

    sentence(answer, 413)
    assert sent == []


@pytest.mark.parametrize(
    "head",
    [b"", b"\r\n", b"--edge--\r\n", part('form-data; name="Metadata"', b"")[:-2]],
    ids=["nothing", "preamble", "epilogue", "field"],
)
async def test_no_other_stretch_of_a_body_is_endless(
    client: httpx.AsyncClient, head: bytes
) -> None:
    sent: list[int] = []

    answer = await client.post("/embed", content=endless(sent, head), headers=FORM)

    assert answer.status_code in {400, 413}
    sentence(answer, answer.status_code)
    assert len(sent) < 40


async def test_parts_without_end_are_413(client: httpx.AsyncClient) -> None:
    parts = [part(f'form-data; name="f{number}"', b"") for number in range(100)]

    answer = await client.post("/embed", content=b"".join(parts), headers=FORM)

    assert "too many parts" in sentence(answer, 413)


async def test_a_long_field_is_413(client: httpx.AsyncClient, backend: Backend) -> None:
    fields = form(Metadata="x" * (backend.limits.field_bytes + 1))

    answer = await client.post("/embed", data=fields, files={"SourceData": ("a", b"text")})

    assert "'Metadata'" in sentence(answer, 413)
    assert await uploads_kept(backend) == 0


async def test_a_body_that_stops_in_the_middle_is_408(backend: Backend) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield part(PLAIN, b"text")[:-10]
        await asyncio.Event().wait()

    impatient = replace(backend, limits=replace(backend.limits, idle_seconds=0.01))
    async with client_of(impatient, vectorflowkey=KEY) as client:
        answer = await client.post("/embed", content=body(), headers=FORM)

    assert "send the request again" in sentence(answer, 408)
    assert await uploads_kept(backend) == 0


async def test_a_slow_body_holds_up_nobody(client: httpx.AsyncClient) -> None:
    others_done = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        fields = [part(f'form-data; name="{n}"', v.encode()) for n, v in form().items()]
        yield b"".join(fields) + part(PLAIN, b"")[:-2]
        await others_done.wait()
        yield b"text\r\n--edge--\r\n"

    slow = asyncio.create_task(client.post("/embed", content=body(), headers=FORM))
    for _ in range(3):
        other = await client.post(
            "/embed", data=form(), files={"SourceData": ("b.txt", b"Other text.")}
        )
        assert other.status_code == 200
    assert not slow.done()
    others_done.set()

    assert (await slow).status_code == 200
