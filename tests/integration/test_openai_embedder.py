import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Self

import numpy as np
import orjson
import pytest
from aiohttp import web

from vectorflow.adapters.embedders.openai import OpenAiEmbedder
from vectorflow.errors import (
    BadChunk,
    CallRefused,
    InvalidInput,
    KeyRefused,
    Throttled,
    TooMuchAtOnce,
    Unavailable,
    VectorFlowError,
)
from vectorflow.testing.provider import FAULTS, FakeProvider, Faults, Quota, vector_of

KEY = "sk-secret-0123456789abcdef"
SMALL = "text-embedding-3-small"
TEXTS = ["one", "two", "three"]


def all_of(fault: str, **more: float) -> Faults:
    return Faults(shares={fault: 1.0}, **more)


async def refusal_of(
    provider: FakeProvider, texts: Sequence[str] = TEXTS, *, seconds: float = 10.0
) -> VectorFlowError:
    """What one call raises; with the key nowhere in it."""
    async with OpenAiEmbedder(SMALL, key=KEY, base_url=provider.url, timeout=seconds) as embedder:
        with pytest.raises(VectorFlowError) as caught:
            await embedder.embed(texts, "document")
    trace = "".join(traceback.format_exception(caught.value))
    assert KEY not in trace + repr(caught.value)
    assert provider.url not in str(caught.value)
    return caught.value


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider(keys=[KEY]) as provider:
        yield provider


class Server:
    """Answers every request in one way, and keeps what came."""

    def __init__(self, respond: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        self.requests: list[web.Request] = []
        self._respond = respond

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self._respond(request)


def answering(status: int, body: object = None, headers: dict[str, str] | None = None) -> Server:
    async def respond(_request: web.Request) -> web.Response:
        return web.Response(
            status=status,
            body=body if isinstance(body, bytes) else orjson.dumps(body),
            headers=headers,
        )

    return Server(respond)


async def test_vectors_are_the_providers(provider: FakeProvider) -> None:
    async with OpenAiEmbedder(SMALL, key=KEY, base_url=provider.url) as embedder:
        vectors = await embedder.embed(TEXTS, "document")

    np.testing.assert_array_equal(vectors, [vector_of(text, 1536) for text in TEXTS])
    assert vectors.flags.writeable


@pytest.mark.parametrize(
    ("model", "name", "dimensions"),
    [
        ("text-embedding-3-small", "text-embedding-3-small", 1536),
        ("text-embedding-3-small@1536", "text-embedding-3-small", 1536),
        ("text-embedding-3-large", "text-embedding-3-large", 3072),
        ("text-embedding-3-large@256", "text-embedding-3-large", 256),
        ("text-embedding-ada-002", "text-embedding-ada-002", 1536),
        ("text-embedding-ada-002@1536", "text-embedding-ada-002", 1536),
        ("@cf/baai/bge-m3@1024", "@cf/baai/bge-m3", 1024),
    ],
)
async def test_a_model_is_embedded_with_in_its_dimensions(
    model: str, name: str, dimensions: int
) -> None:
    async with (
        FakeProvider(
            models={
                "text-embedding-3-small": 1536,
                "text-embedding-3-large": 3072,
                "text-embedding-ada-002": 1536,
                "@cf/baai/bge-m3": 1024,
            }
        ) as provider,
        OpenAiEmbedder(model, base_url=provider.url) as embedder,
    ):
        vectors = await embedder.embed(["one"], "query")

    assert embedder.fingerprint.model == name
    assert embedder.fingerprint.dimensions == dimensions
    np.testing.assert_array_equal(vectors[0], vector_of("one", dimensions, name))


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("bge-m3", "are not known; add them, as in openai:bge-m3@1024"),
        ("", "are not known; add them, as in openai:MODEL@1024"),
        ("bge-m3@", "are not known"),
        ("bge-m3@0", "no vectors of 0 dimensions; use 1 to 65536"),
        ("text-embedding-3-small@1537", "no vectors of 1537 dimensions; use 1 to 1536"),
        ("text-embedding-ada-002@512", "no vectors of 512 dimensions; use 1536"),
    ],
)
def test_a_model_without_known_dimensions_is_refused(model: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        OpenAiEmbedder(model)

    assert says in str(caught.value)


def test_the_address_and_the_account_do_not_make_another_fingerprint() -> None:
    one = OpenAiEmbedder(SMALL, key="a", base_url="http://127.0.0.1:1/v1")
    other = OpenAiEmbedder(f"{SMALL}@1536", key="b")

    assert one.fingerprint.digest == other.fingerprint.digest
    assert one.fingerprint.digest != OpenAiEmbedder(f"{SMALL}@512").fingerprint.digest


def test_requests_are_paid_for_and_leave_a_margin() -> None:
    limits = OpenAiEmbedder(SMALL, concurrency=7).limits

    assert limits.paid
    assert limits.concurrency == 7
    assert limits.request_texts == 256
    assert limits.request_tokens < 300_000
    assert limits.max_text_tokens == 8191


async def test_nothing_is_embedded_outside_of_async_with() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await OpenAiEmbedder(SMALL, key=KEY).embed(["one"], "document")


async def test_a_text_beyond_the_models_limit_is_cut_to_it(provider: FakeProvider) -> None:
    long = "中 word " * 5000

    async with OpenAiEmbedder(SMALL, key=KEY, base_url=provider.url) as embedder:
        vectors = await embedder.embed([long, "one"], "document")

    assert vectors.shape == (2, 1536)
    assert 8000 < provider.stats.tokens <= 8193


async def test_the_key_goes_where_the_base_url_says(provider: FakeProvider) -> None:
    async with OpenAiEmbedder(SMALL, key=f" {KEY}\n", base_url=provider.url + "/") as embedder:
        await embedder.embed(["one"], "document")

    assert len(provider.stats.keys) == 1


async def test_a_redirect_is_not_followed() -> None:
    async with (
        answering(200) as elsewhere,
        answering(307, headers={"Location": elsewhere.url + "/embeddings"}) as server,
        OpenAiEmbedder(SMALL, key=KEY, base_url=server.url) as embedder,
    ):
        with pytest.raises(CallRefused, match=r"answered 307.*redirects are not followed"):
            await embedder.embed(["one"], "document")

    assert elsewhere.requests == []


async def test_proxies_of_the_environment_are_not_used(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async with OpenAiEmbedder(SMALL, key=KEY, base_url=provider.url) as embedder:
        assert (await embedder.embed(["one"], "document")).shape == (1, 1536)


@pytest.mark.parametrize("key", [None, "", "  "])
async def test_without_a_key_nobody_is_called(key: str | None) -> None:
    async with OpenAiEmbedder(SMALL, key=key, base_url="http://provider.invalid/v1") as embedder:
        with pytest.raises(KeyRefused, match=r"provider\.invalid; send one in X-EmbeddingAPI-Key"):
            await embedder.embed(["one"], "document")


async def test_this_machine_needs_no_key() -> None:
    async with (
        FakeProvider() as provider,
        OpenAiEmbedder(SMALL, base_url=provider.url) as embedder,
    ):
        assert (await embedder.embed(["one"], "document")).shape == (1, 1536)
    assert provider.stats.keys == set()


@pytest.mark.parametrize("key", ["sk-\nX-Other: 1", "schlüssel"])
async def test_a_key_that_is_no_header_is_refused_without_naming_it(key: str) -> None:
    async with OpenAiEmbedder(SMALL, key=key) as embedder:
        with pytest.raises(KeyRefused, match="characters that no key has") as caught:
            await embedder.embed(["one"], "document")

    assert key not in str(caught.value)


async def test_an_empty_text_is_a_bad_chunk_and_costs_nothing(provider: FakeProvider) -> None:
    refused = await refusal_of(provider, ["one", "", "three"])

    assert isinstance(refused, BadChunk)
    assert refused.position == 1
    assert provider.stats.calls == 0


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("throttled", Throttled, "answered 429"),
        ("throttled_silently", Throttled, "answered 429"),
        ("error_500", Unavailable, "answered 500"),
        ("error_503", Unavailable, "answered 503"),
        ("key_refused", KeyRefused, "does not accept this key.*X-EmbeddingAPI-Key.*OPEN_AI_KEY"),
        ("out_of_credit", KeyRefused, "out of credit"),
        ("reset", Unavailable, "broke off"),
        ("truncated", Unavailable, "cut short"),
        ("wrong_dimension", Unavailable, "has not 1536 dimensions.*MODEL@DIMENSIONS"),
        ("nan", Unavailable, "not finite"),
        ("fewer", Unavailable, "holds 2 vectors for 3 texts"),
        ("wrong_index", Unavailable, "which vector is whose"),
    ],
)
async def test_each_fault_is_told_apart(
    provider: FakeProvider, fault: str, error: type[VectorFlowError], says: str
) -> None:
    provider.faults = all_of(fault)

    refused = await refusal_of(provider)

    assert type(refused) is error
    with pytest.raises(error, match=says):
        raise refused


async def test_answers_in_another_order_are_put_right(provider: FakeProvider) -> None:
    provider.faults = all_of("shuffled")

    async with OpenAiEmbedder(SMALL, key=KEY, base_url=provider.url) as embedder:
        vectors = await embedder.embed(TEXTS, "document")

    np.testing.assert_array_equal(vectors, [vector_of(text, 1536) for text in TEXTS])


async def test_a_slow_provider_is_left_after_the_timeout(provider: FakeProvider) -> None:
    provider.faults = all_of("slow", slow_seconds=30)

    refused = await refusal_of(provider, seconds=0.1)

    assert isinstance(refused, Unavailable)
    assert "took more than 0.1 s" in str(refused)


async def test_a_provider_that_is_not_there_is_unavailable() -> None:
    async with FakeProvider() as provider:
        pass

    assert isinstance(await refusal_of(provider), Unavailable)


async def test_a_connection_can_be_used_after_every_fault(provider: FakeProvider) -> None:
    async with OpenAiEmbedder(SMALL, key=KEY, base_url=provider.url) as embedder:
        for fault in ("error_500", "truncated", "reset", "throttled", "nan"):
            provider.faults = all_of(fault)
            with pytest.raises(VectorFlowError):
                await embedder.embed(TEXTS, "document")
        provider.faults = Faults()

        assert (await embedder.embed(TEXTS, "document")).shape == (3, 1536)


async def test_a_cancelled_request_leaves_the_session_usable(provider: FakeProvider) -> None:
    provider.faults = all_of("slow", slow_seconds=30)
    async with OpenAiEmbedder(SMALL, key=KEY, base_url=provider.url) as embedder:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(embedder.embed(TEXTS, "document"), 0.1)
        provider.faults = Faults()

        assert (await embedder.embed(TEXTS, "document")).shape == (3, 1536)


async def test_nothing_is_tried_twice(provider: FakeProvider) -> None:
    provider.faults = all_of("error_503")

    await refusal_of(provider)

    assert provider.stats.calls == 1


async def test_many_requests_are_under_way_at_once() -> None:
    async with (
        FakeProvider(latency=0.2) as provider,
        OpenAiEmbedder(SMALL, base_url=provider.url, concurrency=16) as embedder,
    ):
        await asyncio.gather(*[embedder.embed([str(at)], "document") for at in range(16)])

    assert provider.stats.most_in_flight == 16


async def test_too_many_tokens_are_too_much_at_once(provider: FakeProvider) -> None:
    refused = await refusal_of(provider, [f"{at} " + "word " * 8000 for at in range(40)])

    assert type(refused) is TooMuchAtOnce


async def test_too_many_texts_are_too_much_at_once(provider: FakeProvider) -> None:
    refused = await refusal_of(provider, [str(at) for at in range(2049)])

    assert type(refused) is TooMuchAtOnce


async def test_an_unknown_model_is_named_as_the_cause(provider: FakeProvider) -> None:
    async with OpenAiEmbedder("gone@8", key=KEY, base_url=provider.url) as embedder:
        with pytest.raises(CallRefused, match=r"no such model.*VECTORFLOW_OPENAI__BASE_URL"):
            await embedder.embed(["one"], "document")


async def test_a_used_up_quota_says_how_long_to_wait() -> None:
    async with (
        FakeProvider(quota=Quota(requests=2)) as provider,
        OpenAiEmbedder(SMALL, base_url=provider.url) as embedder,
    ):
        await embedder.embed(["one"], "document")
        await embedder.embed(["one"], "document")
        with pytest.raises(Throttled) as caught:
            await embedder.embed(["one"], "document")

    assert caught.value.retry_after == pytest.approx(30, abs=2)


async def test_a_request_above_the_whole_quota_is_too_much_at_once() -> None:
    async with FakeProvider(quota=Quota(tokens=10)) as provider:
        refused = await refusal_of(provider, ["word " * 20, "one"])

    assert type(refused) is TooMuchAtOnce


async def test_an_answer_without_end_is_not_read() -> None:
    async def pour(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)

    async with Server(pour) as server, OpenAiEmbedder(SMALL, base_url=server.url) as embedder:
        with pytest.raises(Unavailable, match="answered with too much"):
            await embedder.embed(["one"], "document")


async def test_a_long_page_of_errors_still_tells_its_status() -> None:
    async with (
        answering(503, b"<html>" * 100_000) as server,
        OpenAiEmbedder(SMALL, base_url=server.url) as embedder,
    ):
        with pytest.raises(Unavailable, match="answered 503"):
            await embedder.embed(["one"], "document")


async def test_a_server_that_only_knows_numbers_is_understood() -> None:
    vectors = [vector_of(text, 8) for text in TEXTS]
    rows = [{"index": at, "embedding": row.tolist()} for at, row in enumerate(vectors)]

    async with (
        answering(200, {"data": rows}) as server,
        OpenAiEmbedder("own@8", base_url=server.url) as embedder,
    ):
        found = await embedder.embed(TEXTS, "document")

    np.testing.assert_array_equal(found, vectors)


async def test_a_job_ends_though_much_goes_wrong(provider: FakeProvider) -> None:
    shares = dict.fromkeys(FAULTS, 0.05)
    provider.faults = Faults(shares=shares, seed=11, retry_after=0, slow_seconds=0)
    left = [[f"{request} {at}" for at in range(5)] for request in range(60)]

    async with OpenAiEmbedder(SMALL, key=KEY, base_url=provider.url) as embedder:
        for _ in range(50):
            answers = await asyncio.gather(
                *[embedder.embed(texts, "document") for texts in left], return_exceptions=True
            )
            for texts, answer in zip(left, answers, strict=True):
                if isinstance(answer, np.ndarray):
                    expected = [vector_of(text, 1536) for text in texts]
                    np.testing.assert_array_equal(answer, expected)
                else:
                    assert isinstance(answer, VectorFlowError)
            left = [
                texts
                for texts, answer in zip(left, answers, strict=True)
                if not isinstance(answer, np.ndarray)
            ]
            if not left:
                break

    assert left == []
    assert provider.stats.by_status[200] >= 60
