import asyncio
import base64
import hashlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from io import BytesIO

import aiohttp
import numpy as np
import orjson
import pytest

from vectorflow.domain.records import Matrix
from vectorflow.testing.provider import FAULTS, MODELS, FakeProvider, Faults, Quota, vector_of
from vectorflow.testing.provider_limits import duration
from vectorflow.testing.provider_vectors import vectors_of

SMALL = "text-embedding-3-small"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def ask(
    session: aiohttp.ClientSession, provider: FakeProvider, key: str = "", **fields: object
) -> tuple[int, dict, aiohttp.ClientResponse]:
    """Status, JSON and response of a request for embeddings."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = {"model": SMALL, "input": ["one"]} | fields
    async with session.post(
        f"{provider.url}/embeddings", data=BytesIO(orjson.dumps(body)), headers=headers
    ) as response:
        return response.status, orjson.loads(await response.read()), response


def rows_of(answer: dict) -> Matrix:
    rows = [row["embedding"] for row in answer["data"]]
    if isinstance(rows[0], str):
        return np.stack([np.frombuffer(base64.b64decode(row), "<f4") for row in rows])
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize("encoding", ["float", "base64", None])
@pytest.mark.parametrize("dimensions", [1536, 256, 7])
async def test_vectors_are_those_of_their_texts(
    session: aiohttp.ClientSession, encoding: str | None, dimensions: int
) -> None:
    fields = {"encoding_format": encoding} if encoding else {}
    async with FakeProvider() as provider:
        status, answer, _ = await ask(
            session, provider, input=["one", "zwei 中"], dimensions=dimensions, **fields
        )

    assert status == 200
    assert answer["model"] == SMALL
    assert [row["index"] for row in answer["data"]] == [0, 1]
    assert answer["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    expected = [vector_of("one", dimensions), vector_of("zwei 中", dimensions)]
    np.testing.assert_array_equal(rows_of(answer), expected)


async def test_one_text_needs_no_list(session: aiohttp.ClientSession) -> None:
    async with FakeProvider() as provider:
        _, answer, _ = await ask(session, provider, input="one")

    np.testing.assert_array_equal(rows_of(answer)[0], vector_of("one", 1536))


def test_vectors_are_one_long_and_nearly_orthogonal() -> None:
    rows = vectors_of([f"text {at}" for at in range(500)], 384, SMALL)

    cosines = rows @ rows.T
    np.testing.assert_allclose(np.diag(cosines), 1, atol=1e-5)
    np.fill_diagonal(cosines, 0)
    assert np.abs(cosines).max() < 0.5


def test_each_model_has_vectors_of_its_own() -> None:
    assert not np.allclose(vector_of("one", 1536), vector_of("one", 1536, "other"))


def test_fewer_dimensions_are_the_start_of_more() -> None:
    start = vector_of("one", 1536)[:256]

    np.testing.assert_allclose(vector_of("one", 256), start / np.linalg.norm(start), rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "status", "code", "says"),
    [
        ({"model": "gone"}, 404, "model_not_found", "does not exist"),
        ({"model": None}, 404, "model_not_found", "does not exist"),
        ({"input": []}, 400, None, "is invalid"),
        ({"input": ["one", ""]}, 400, None, "is invalid"),
        ({"input": [1, 2]}, 400, None, "is invalid"),
        ({"input": ["one"] * 2049}, 400, "array_above_max_length", "array too long"),
        ({"input": ["word " * 8200]}, 400, None, "maximum context length"),
        ({"input": ["word " * 8000] * 38}, 400, "max_tokens_per_request", "max 300000 tokens"),
        ({"dimensions": 1537}, 400, None, "less than or equal to 1536"),
        ({"dimensions": 0}, 400, None, "less than or equal to 1536"),
        ({"model": "text-embedding-ada-002", "dimensions": 8}, 400, None, "does not support"),
    ],
)
async def test_what_openai_refuses_is_refused(
    session: aiohttp.ClientSession,
    fields: dict[str, object],
    status: int,
    code: str | None,
    says: str,
) -> None:
    async with FakeProvider() as provider:
        found, answer, _ = await ask(session, provider, **fields)

    assert found == status
    assert answer["error"]["code"] == code
    assert says in answer["error"]["message"]
    assert provider.stats.texts == 0


async def test_the_limits_themselves_are_taken(session: aiohttp.ClientSession) -> None:
    async with FakeProvider() as provider:
        most_texts, _, _ = await ask(session, provider, input=["one"] * 2048, dimensions=8)
        longest, _, _ = await ask(session, provider, input=["a " * 8191 + "a"], dimensions=8)

    assert (most_texts, longest) == (200, 200)
    assert provider.stats.tokens == 2048 + 8192


async def test_only_known_keys_are_let_in(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(keys=["right"]) as provider:
        found = [(await ask(session, provider, key))[0] for key in ("right", "wrong", "")]

    assert found == [200, 401, 401]
    assert provider.stats.keys == {
        hashlib.sha256(key).hexdigest()[:16] for key in (b"right", b"wrong")
    }


async def test_models_are_listed(session: aiohttp.ClientSession) -> None:
    async with FakeProvider() as provider, session.get(f"{provider.url}/models") as response:
        listed = await response.json()

    assert [model["id"] for model in listed["data"]] == list(MODELS)


async def test_a_quota_of_requests_is_kept_and_told(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(quota=Quota(requests=2, tokens=1000)) as provider:
        _, _, first = await ask(session, provider)
        await ask(session, provider)
        status, answer, last = await ask(session, provider)

    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-tokens"] == "999"
    assert first.headers["x-ratelimit-reset-tokens"].endswith("ms")
    assert status == 429
    assert answer["error"]["type"] == "requests"
    assert "try again in" in answer["error"]["message"]
    assert last.headers["x-ratelimit-remaining-requests"] == "0"
    assert last.headers["x-ratelimit-reset-requests"] in {"60s", "1m0s"}
    assert 28 <= int(last.headers["retry-after"]) <= 30
    assert 28_000 <= int(last.headers["retry-after-ms"]) <= 30_000


async def test_a_quota_refills(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(quota=Quota(tokens=6000)) as provider:
        first, _, _ = await ask(session, provider, input="word " * 5999)
        refused, _, response = await ask(session, provider, input="word " * 20)
        await asyncio.sleep(int(response.headers["retry-after-ms"]) / 1000)
        again, _, _ = await ask(session, provider, input="word " * 20)

    assert (first, refused, again) == (200, 429, 200)


async def test_each_key_has_its_own_quota(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(quota=Quota(requests=1)) as provider:
        found = [(await ask(session, provider, key))[0] for key in ("a", "b", "a")]

    assert found == [200, 200, 429]


async def test_what_can_never_fit_a_quota_is_too_large(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(quota=Quota(tokens=10)) as provider:
        status, answer, _ = await ask(session, provider, input="word " * 20)

    assert status == 429
    assert "Request too large" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("seconds", "written"), [(0, "0ms"), (0.25, "250ms"), (1.5, "1.5s"), (360, "6m0s")]
)
def test_durations_are_written_as_openai_does(seconds: float, written: str) -> None:
    assert duration(seconds) == written


async def test_answers_take_as_long_as_asked(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(latency=0.2) as provider:
        begun = asyncio.get_running_loop().time()
        await asyncio.gather(*[ask(session, provider) for _ in range(20)])

    assert 0.2 <= asyncio.get_running_loop().time() - begun < 2
    assert provider.stats.most_in_flight == 20


async def test_faults_come_as_often_as_asked_and_the_same_for_a_seed(
    session: aiohttp.ClientSession,
) -> None:
    faults = Faults(shares={"error_500": 0.3, "throttled": 0.2}, seed=7, retry_after=3)
    seen = []
    for _ in range(2):
        async with FakeProvider(faults=faults) as provider:
            seen.append([(await ask(session, provider, dimensions=8))[0] for _ in range(100)])

    assert seen[0] == seen[1]
    assert 15 < seen[0].count(500) < 45
    assert 8 < seen[0].count(429) < 35


async def test_faults_may_be_set_while_it_runs(session: aiohttp.ClientSession) -> None:
    async with FakeProvider() as provider:
        before, _, _ = await ask(session, provider)
        told = {"shares": {"error_503": 1}, "seed": 3}
        async with session.post(f"{provider.origin}/faults", json=told) as response:
            assert await response.json() == {"shares": {"error_503": 1.0}}
        during, _, _ = await ask(session, provider)
        async with session.post(f"{provider.origin}/faults", json={}) as response:
            assert response.status == 200
        after, _, _ = await ask(session, provider)

    assert (before, during, after) == (200, 503, 200)


@pytest.mark.parametrize(
    "told",
    [
        {"shares": {"flood": 1}},
        {"shares": {"nan": 1.5}},
        {"shares": 3},
        {"seeds": 3},
        {"seed": "x"},
        [],
        None,
    ],
)
async def test_faults_that_do_not_exist_are_refused(
    session: aiohttp.ClientSession, told: object
) -> None:
    async with (
        FakeProvider() as provider,
        session.post(f"{provider.origin}/faults", data=orjson.dumps(told)) as response,
    ):
        assert response.status == 400
        assert provider.faults == Faults()


@pytest.mark.parametrize("fault", FAULTS)
async def test_only_work_that_was_done_is_counted(
    session: aiohttp.ClientSession, fault: str
) -> None:
    refuses = fault in {
        "throttled",
        "throttled_silently",
        "error_500",
        "error_503",
        "key_refused",
        "out_of_credit",
    }
    faults = Faults(shares={fault: 1.0}, slow_seconds=0)
    async with FakeProvider(faults=faults) as provider:
        for _ in range(2):
            try:
                await ask(session, provider, input=["one", "two"])
            except (aiohttp.ClientError, orjson.JSONDecodeError):
                assert fault in {"reset", "truncated"}

    assert provider.stats.calls == 2
    assert provider.stats.texts == (0 if refuses else 4)
    assert provider.stats.repeated_texts == (0 if refuses else 2)
    assert provider.stats.by_status.total() == 2
    assert (0 in provider.stats.by_status) == (fault == "reset")


async def test_the_stats_are_served_without_keys(session: aiohttp.ClientSession) -> None:
    async with FakeProvider() as provider:
        await ask(session, provider, "sk-secret", input=["one", "one"])
        async with session.get(f"{provider.origin}/stats") as response:
            stats = await response.json()

    assert stats == {
        "calls": 1,
        "texts": 2,
        "tokens": 2,
        "repeated_texts": 1,
        "most_in_flight": 1,
        "by_status": {"200": 1},
        "keys": [hashlib.sha256(b"sk-secret").hexdigest()[:16]],
    }


async def test_a_provider_ends_though_requests_hang(session: aiohttp.ClientSession) -> None:
    faults = Faults(shares={"slow": 1.0}, slow_seconds=60)
    async with FakeProvider(faults=faults) as provider:
        hanging = asyncio.create_task(ask(session, provider))
        await asyncio.sleep(0.1)

    with pytest.raises(aiohttp.ClientError):
        await hanging


async def test_it_runs_as_a_process(session: aiohttp.ClientSession) -> None:
    command = [sys.executable, "-m", "vectorflow.testing.provider"]
    options = ["--key", "k", "--model", "own=16", "--requests-per-minute", "100", "--latency", "0"]
    process = subprocess.Popen(  # noqa: ASYNC220 - it is started once
        [*command, *options, "--fault", "error_500=0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        url = (await asyncio.to_thread(process.stdout.readline)).strip()
        body = {"model": "own", "input": ["one"]}
        headers = {"Authorization": "Bearer k"}
        async with session.post(f"{url}/embeddings", json=body, headers=headers) as response:
            answer = await response.json()
            assert response.headers["x-ratelimit-limit-requests"] == "100"
    finally:
        process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(process.wait, 10)
        process.stdout.close()

    assert code == 0
    np.testing.assert_array_equal(rows_of(answer)[0], vector_of("one", 16, "own"))
