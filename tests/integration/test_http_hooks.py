"""Webhooks, validation hooks and presigned URLs against real servers."""

import asyncio
import gzip
import json
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from tests.integration.local_servers import (
    MARK,
    Handler,
    Server,
    answering,
    hello,
    serving,
    speaking,
    to,
)
from vectorflow.adapters.hooks.http import HttpHooks, file_name
from vectorflow.errors import (
    ForbiddenAddress,
    HookRefused,
    InvalidInput,
    InvalidSetting,
    Throttled,
    TooLarge,
    Unavailable,
    VectorFlowError,
)
from vectorflow.ports.hooks import Candidate, Delivery

Use = Callable[[HttpHooks, str], Awaitable[object]]

CANDIDATES = [
    Candidate(chunk_id="a", text="the first"),
    Candidate(chunk_id="b", text="the second"),
    Candidate(chunk_id="c", text="the third"),
]


def delivery(
    *, rows: int = 2, extras: Sequence[Mapping[str, object]] | None = None, job: int = 7
) -> Delivery:
    return Delivery(
        job=job,
        document_id="doc-1",
        texts=[f"text {row}" for row in range(rows)],
        chunk_ids=[f"chunk-{row}" for row in range(rows)],
        vectors=np.linspace(-1, 1, rows * 3, dtype=np.float32).reshape(rows, 3),
        extras=extras or [{}] * rows,
    )


def hooks(*allow: str, timeout: float = 5.0, offline: bool = False) -> HttpHooks:
    return HttpHooks(allow or ["127.0.0.1"], timeout, offline=offline)


async def deliver(hooks: HttpHooks, url: str) -> None:
    await hooks.deliver(url, MARK, delivery())


async def validate(hooks: HttpHooks, url: str) -> object:
    return await hooks.validate(url, CANDIDATES)


async def fetch(hooks: HttpHooks, url: str, limit: int = 1 << 20) -> bytes:
    async with hooks.fetch(url, limit=limit) as fetched:
        return b"".join([block async for block in fetched.blocks])


USES: list[Use] = [deliver, validate, fetch]


def url_of(port: int, path: str = "/path") -> str:
    return f"http://127.0.0.1:{port}{path}?token={MARK}"


async def failure_of(use: Use, port: int, *, opened: HttpHooks | None = None) -> VectorFlowError:
    """Give the error of a use, which must show nothing but the host."""
    async with opened or hooks() as some:
        with pytest.raises(VectorFlowError) as caught:
            await use(some, url_of(port))
    error = caught.value
    for shown in (str(error), repr(error), "".join(traceback.format_exception(error))):
        assert MARK not in shown
        assert "/path" not in shown
    return error


async def delivered(given: Delivery) -> tuple[Server, Any]:
    async with serving(hello) as server, hooks() as some:
        await some.deliver(url_of(server.port), "the key", given)
    return server, json.loads(server.bodies[0])


def validating(answer: object) -> Handler:
    async def validate(_request: web.Request) -> web.StreamResponse:
        return web.json_response(answer)

    return validate


def sending(body: bytes, **headers: str) -> Handler:
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def send(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers=named)

    return send


async def test_a_delivery_has_the_form_that_receivers_know() -> None:
    server, body = await delivered(delivery())

    vectors = [one.pop("vector") for one in body["Embeddings"]]
    assert np.array_equal(np.array(vectors, dtype=np.float32), delivery().vectors)
    assert body == {
        "Embeddings": [
            {"text": "text 0", "chunk_id": "chunk-0"},
            {"text": "text 1", "chunk_id": "chunk-1"},
        ],
        "DocumentID": "doc-1",
        "JobID": 7,
    }
    headers = server.requests[0].headers
    assert server.requests[0].method == "POST"
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Embeddings-Webhook-Key"] == "the key"
    assert int(headers["Content-Length"]) == len(server.bodies[0])


async def test_vectors_arrive_as_the_same_floats() -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 384)).astype(np.float32)
    given = Delivery(
        job=1,
        document_id="",
        texts=["x"] * 50,
        chunk_ids=[str(row) for row in range(50)],
        vectors=np.asfortranarray(vectors)[:, ::-1],
        extras=[{}] * 50,
    )

    _, body = await delivered(given)

    arrived = np.array([one["vector"] for one in body["Embeddings"]], dtype=np.float32)
    assert np.array_equal(arrived, vectors[:, ::-1])


async def test_a_delivery_of_megabytes_arrives() -> None:
    _, body = await delivered(delivery(rows=50_000))

    assert len(body["Embeddings"]) == 50_000


async def test_added_keys_are_delivered_and_replace_none() -> None:
    extra = {"topic": {"a": [1, None]}, "vector": "no", "text": "no", "chunk_id": "no"}

    _, body = await delivered(delivery(rows=1, extras=[extra]))

    only = body["Embeddings"][0]
    assert (only["topic"], only["text"], only["chunk_id"]) == (
        {"a": [1, None]},
        "text 0",
        "chunk-0",
    )
    assert len(only["vector"]) == 3


async def test_a_delivery_has_the_same_id_on_each_try() -> None:
    async with serving(hello) as server, hooks() as some:
        for given in (delivery(), delivery(), delivery(job=8), delivery(rows=3)):
            await some.deliver(url_of(server.port), "key", given)

    ids = [request.headers["X-VectorFlow-Delivery"] for request in server.requests]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_2xx_is_delivered(status: int) -> None:
    async with serving(answering(status)) as server, hooks() as some:
        await deliver(some, url_of(server.port))

    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
@pytest.mark.parametrize("use", USES)
async def test_a_refusal_names_the_host_and_the_status(use: Use, status: int) -> None:
    async with serving(answering(status)) as server:
        error = await failure_of(use, server.port)

    assert isinstance(error, HookRefused)
    assert f"at '127.0.0.1' answered {status}" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503, 504])
@pytest.mark.parametrize("use", USES)
async def test_trouble_of_the_other_side_is_tried_again(use: Use, status: int) -> None:
    async with serving(answering(status, Retry_After="9")) as server:
        error = await failure_of(use, server.port)

    assert isinstance(error, Unavailable)
    assert error.retry_after == 9


@pytest.mark.parametrize("use", USES)
async def test_who_asks_to_slow_down_is_heard(use: Use) -> None:
    async with serving(answering(429, Retry_After="9")) as server:
        error = await failure_of(use, server.port)

    assert isinstance(error, Throttled)
    assert error.retry_after == 9


@pytest.mark.parametrize("use", [deliver, validate])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_hook_that_redirects_refuses(use: Use, status: int) -> None:
    async with serving(hello) as last, serving(to(url_of(last.port), status)) as first:
        error = await failure_of(use, first.port)

    assert isinstance(error, HookRefused)
    assert f"answered {status}; redirects are not followed" in str(error)
    assert last.requests == []


@pytest.mark.parametrize("use", USES)
async def test_what_is_not_let_in_is_not_called(use: Use) -> None:
    async with serving(hello) as server:
        error = await failure_of(use, server.port, opened=hooks("10.0.0.0/8"))
        offline = await failure_of(use, 1, opened=hooks("10.0.0.0/8", offline=True))

    assert isinstance(error, ForbiddenAddress)
    assert isinstance(offline, ForbiddenAddress)
    assert "VECTORFLOW_HOOKS__ALLOW" in str(error)
    assert server.requests == []


@pytest.mark.parametrize("use", USES)
async def test_nobody_waits_longer_than_the_timeout(use: Use) -> None:
    async def sleep(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async with serving(sleep) as server:
        start = time.monotonic()
        error = await failure_of(use, server.port, opened=hooks(timeout=0.2))

    assert isinstance(error, Unavailable)
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("use", USES)
async def test_a_broken_connection_is_tried_again(use: Use) -> None:
    async with speaking(b"HTTP/1.1 200 OK\r\nContent-Le") as port:
        error = await failure_of(use, port)

    assert isinstance(error, Unavailable)


@pytest.mark.parametrize("key", ["", " ", "a\r\nX: y", "a\nb", "a\x00", " a", "a ", "\u00e9"])
async def test_a_key_that_is_no_header_is_refused(key: str) -> None:
    async with serving(hello) as server, hooks() as some:
        with pytest.raises(InvalidInput, match="the webhook's key cannot be sent"):
            await some.deliver(url_of(server.port), key, delivery())

    assert server.requests == []


async def test_what_is_no_json_is_refused() -> None:
    deep: object = MARK
    for _ in range(300):
        deep = [deep]
    async with hooks() as some:
        for extra in ({"half": f"{MARK} \ud800"}, {"deep": deep}):
            with pytest.raises(InvalidInput) as caught:
                await some.deliver(url_of(1), "key", delivery(rows=1, extras=[extra]))
            assert MARK not in "".join(traceback.format_exception(caught.value))


def test_a_wrong_entry_is_a_wrong_setting() -> None:
    with pytest.raises(InvalidSetting):
        HttpHooks(["http://hooks"], 5.0)


async def test_a_delivery_ends_though_the_answer_does_not() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with speaking(head, *[b"5\r\nhello\r\n"] * 100, pause=0.1) as port, hooks() as some:
        start = time.monotonic()
        await deliver(some, url_of(port))

    assert time.monotonic() - start < 5


async def test_a_validation_keeps_changes_and_drops() -> None:
    kept = [
        {"chunk_id": "c", "text": "rewritten", "topic": "x", "score": 0.5, "vector": [1]},
        {"chunk_id": "a", "text": "the first"},
    ]
    async with serving(validating({"valid_chunks": kept, "more": 1})) as server, hooks() as some:
        valid = await some.validate(url_of(server.port), CANDIDATES)

    assert [(one.chunk_id, one.text) for one in valid] == [("a", "the first"), ("c", "rewritten")]
    assert [dict(one.extra) for one in valid] == [{}, {"topic": "x", "score": 0.5, "vector": [1]}]
    assert json.loads(server.bodies[0]) == {
        "chunks": [{"text": one.text, "chunk_id": one.chunk_id} for one in CANDIDATES]
    }
    assert "X-Embeddings-Webhook-Key" not in server.requests[0].headers


async def test_a_validation_may_drop_everything() -> None:
    async with serving(validating({"valid_chunks": []})) as server, hooks() as some:
        assert list(await some.validate(url_of(server.port), CANDIDATES)) == []


async def test_nothing_is_asked_about_no_chunks() -> None:
    async with serving(validating({"valid_chunks": []})) as server, hooks() as some:
        assert list(await some.validate(url_of(server.port), [])) == []

    assert server.requests == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ([], "a list of 'valid_chunks'"),
        ({}, "a list of 'valid_chunks'"),
        (None, "a list of 'valid_chunks'"),
        ({"valid_chunks": None}, "a list of 'valid_chunks'"),
        ({"valid_chunks": {"a": MARK}}, "a list of 'valid_chunks'"),
        ({"valid_chunks": [MARK]}, "a chunk that is no object"),
        ({"valid_chunks": [{"text": MARK}]}, "a chunk that was not sent"),
        ({"valid_chunks": [{"text": MARK, "chunk_id": MARK}]}, "a chunk that was not sent"),
        ({"valid_chunks": [{"text": MARK, "chunk_id": ["a"]}]}, "a chunk that was not sent"),
        ({"valid_chunks": [{"chunk_id": "a"}]}, "a chunk without text"),
        ({"valid_chunks": [{"chunk_id": "a", "text": ""}]}, "a chunk without text"),
        ({"valid_chunks": [{"chunk_id": "a", "text": " \n"}]}, "a chunk without text"),
        ({"valid_chunks": [{"chunk_id": "a", "text": [MARK]}]}, "a chunk without text"),
        ({"valid_chunks": [{"chunk_id": "a", "text": MARK}] * 2}, "a chunk twice"),
        (
            {"valid_chunks": [{"chunk_id": "a", "text": MARK, "x": "y" * 16_384}]},
            "more than 16,384 bytes to a chunk",
        ),
    ],
)
async def test_a_validation_that_is_not_as_agreed_is_refused(answer: object, why: str) -> None:
    async with serving(validating(answer)) as server:
        error = await failure_of(validate, server.port)

    assert isinstance(error, HookRefused)
    assert why in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        MARK.encode(),
        b"\xff\xfe",
        b'{"valid_chunks": [' + MARK.encode(),
        b'{"valid_chunks": [{"chunk_id": "a", "text": "\\ud800"}]}',
        b'{"valid_chunks": [{"chunk_id": "a", "text": "t", "x": NaN}]}',
        b'{"valid_chunks": [{"chunk_id":"a","text":"t","x":' + b"[" * 500 + b"]" * 500 + b"}]}",
        b"[" * 100_000,
    ],
)
async def test_a_validation_without_plain_json_is_refused(body: bytes) -> None:
    async with serving(sending(body)) as server:
        error = await failure_of(validate, server.port)

    assert isinstance(error, HookRefused)


@pytest.mark.parametrize("status", [201, 204])
async def test_a_validation_is_answered_with_200(status: int) -> None:
    async with serving(answering(status)) as server:
        error = await failure_of(validate, server.port)

    assert f"answered {status} without plain JSON" in str(error)


async def test_a_validation_that_answers_without_end_is_refused() -> None:
    async with serving(sending(b" " * 2_000_000)) as server:
        error = await failure_of(validate, server.port)

    assert isinstance(error, HookRefused)
    assert "answered with more than" in str(error)


@pytest.mark.parametrize("use", [validate, fetch])
async def test_compressed_answers_are_refused(use: Use) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    async with serving(sending(bomb, Content_Encoding="gzip")) as server:
        error = await failure_of(use, server.port)

    assert isinstance(error, HookRefused)
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


async def test_a_file_is_fetched_in_blocks() -> None:
    content = bytes(range(256)) * 4_000
    async with (
        serving(sending(content)) as server,
        hooks() as some,
        some.fetch(url_of(server.port, "/b/My%20file.md"), limit=2_000_000) as fetched,
    ):
        assert fetched.name == "My file.md"
        assert fetched.size == len(content)
        blocks = [block async for block in fetched.blocks]

    assert b"".join(blocks) == content
    assert max(map(len, blocks)) <= 1 << 16


async def test_a_file_behind_a_redirect_is_fetched() -> None:
    async with (
        serving(sending(b"found")) as last,
        serving(to(f"http://127.0.0.1:{last.port}/other")) as first,
        hooks() as some,
        some.fetch(url_of(first.port, "/given.md"), limit=10) as fetched,
    ):
        assert fetched.name == "given.md"
        assert [block async for block in fetched.blocks] == [b"found"]


async def test_a_file_behind_a_redirect_to_the_inside_is_not_fetched() -> None:
    async with serving(hello) as inner, serving(to(f"http://[::1]:{inner.port}/")) as first:
        error = await failure_of(fetch, first.port)

    assert isinstance(error, ForbiddenAddress)
    assert inner.requests == []


async def test_a_file_that_says_it_is_too_large_is_not_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n"
    async with speaking(head, pause=30) as port:
        error = await failure_of(fetch, port)

    assert isinstance(error, TooLarge)
    assert "1,048,576 bytes" in str(error)


async def test_a_file_that_turns_out_too_large_is_given_up() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    block = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    async with speaking(head, *[block] * 1000) as port:
        error = await failure_of(fetch, port)

    assert isinstance(error, TooLarge)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n",
    ],
)
async def test_a_file_that_breaks_off_is_tried_again(head: bytes) -> None:
    async with speaking(head, b"only this") as port:
        error = await failure_of(fetch, port)

    assert isinstance(error, Unavailable)


@pytest.mark.parametrize("status", [201, 204, 206])
async def test_a_part_of_a_file_is_refused(status: int) -> None:
    async with serving(answering(status)) as server:
        error = await failure_of(fetch, server.port)

    assert isinstance(error, HookRefused)
    assert f"({status})" in str(error)


async def test_an_expired_address_says_so() -> None:
    async with serving(answering(403)) as server:
        error = await failure_of(fetch, server.port)

    assert str(error) == (
        "the address at '127.0.0.1' answered 403; it may have expired: make a new one"
    )


async def test_errors_of_the_reader_stay_its_own() -> None:
    async with serving(sending(b"found")) as server, hooks() as some:
        with pytest.raises(TimeoutError, match="the reader's"):
            async with some.fetch(url_of(server.port), limit=10):
                raise TimeoutError("the reader's")
        # The connection of the file that was not read is not used for the next.
        assert await fetch(some, url_of(server.port)) == b"found"


@pytest.mark.parametrize(
    ("url", "disposition", "name"),
    [
        ("https://a/b/c.md?x=/y", "", "c.md"),
        ("https://a/b%2F..%2Fc.md", "", "c.md"),
        ("https://a/b%5Cc.md", "", "c.md"),
        ("https://a/%00%0A%1Bc.md", "", "c.md"),
        ("https://a/%E2%80%AEc.md", "", "c.md"),
        ("https://a/b%C3%A9.md", "", "b\u00e9.md"),
        ("https://a/%FF.md", "", "\ufffd.md"),
        ("https://a/..", "", ""),
        ("https://a/b/", "", ""),
        ("https://a", "", ""),
        ("https://a/c.md", 'attachment; filename="d.md"', "c.md"),
        ("https://a/", 'attachment; filename="d.md"', "d.md"),
        ("https://a/", 'attachment; filename="../../d.md"', "d.md"),
        ("https://a/", "attachment; filename*=UTF-8''d%C3%A9.md", "d\u00e9.md"),
        ("https://a/", "attachment; filename*=nonsense''d.md", "d.md"),
        ("https://a/", 'attachment; filename="', '"'),
        ("https://a/", "attachment; filename=\udc80d.md", "?d.md"),
        ("https://a/" + "x" * 300, "", "x" * 255),
    ],
)
def test_the_name_of_a_file_is_data(url: str, disposition: str, name: str) -> None:
    assert file_name(url, {"Content-Disposition": disposition}) == name


@given(st.text())
@example("idna''d%FF.md")
@example("punycode''d%FF.md")
@example("; filename*0*=d.md; filename*1*=e")
@example(f"d; filename*{'9' * 5000}*=e")
def test_any_header_gives_a_plain_name(disposition: str) -> None:
    for start in ("", "attachment; filename=", "attachment; filename*="):
        name = file_name("https://a/", {"Content-Disposition": start + disposition})

        assert name.isprintable()
        assert not {"/", "\\"} & set(name)
