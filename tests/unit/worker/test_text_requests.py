import asyncio
from collections.abc import Sequence
from typing import Self

import numpy as np
import pytest

from tests.scraped import risen
from vectorflow.adapters.metrics.prometheus import PrometheusMetrics, written
from vectorflow.domain.jobs import Lane
from vectorflow.domain.pipelines import Fingerprint
from vectorflow.domain.records import Matrix
from vectorflow.errors import (
    BadChunk,
    DocumentFailed,
    KeyRefused,
    Permanent,
    Throttled,
    TooMuchAtOnce,
    Transient,
    Unavailable,
)
from vectorflow.ports.embedder import Embedder, EmbedderLimits, Purpose
from vectorflow.service.embed import Embedded, EmbedTexts
from vectorflow.worker.text_requests import HARMLESS, WINDOW, TextRequests


class Embeds(Embedder):
    """Each vector is the length of its text; some texts are trouble."""

    fingerprint = Fingerprint(
        model="length", revision="1", dimensions=2, pooling="none", normalized=False
    )
    tokenizer = "words"

    def __init__(
        self,
        *,
        texts: int = 4,
        tokens: int = 1000,
        concurrency: int = 2,
        retry_after: float = 2.0,
    ) -> None:
        self.retry_after = retry_after
        self.limits = EmbedderLimits(
            max_text_tokens=100,
            request_tokens=tokens,
            request_texts=texts,
            concurrency=concurrency,
        )
        self.requests: list[list[str]] = []
        self.away = True
        """Whether it is away as a whole when a text finds it so."""
        self.under_way = 0
        self.most_under_way = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Matrix:
        assert purpose == "document"
        if texts == [HARMLESS]:
            if self.away:
                raise Unavailable("down")
            return np.ones((1, 2), dtype=np.float32)
        self.requests.append(list(texts))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.under_way -= 1
        for text in texts:
            self._make_trouble(text, len(texts))
        rows = np.array([[len(text), 1] for text in texts], dtype=np.float32)
        if any(text.startswith("short") for text in texts):
            return rows[:-1]
        if any(text.startswith("nan") for text in texts):
            rows[0, 0] = np.nan
        return rows

    def _make_trouble(self, text: str, together: int) -> None:
        if text.startswith("bad"):
            raise BadChunk("refused", position=0)
        if text.startswith("key"):
            raise KeyRefused("the key is not good")
        if text.startswith("much") and together > 2:
            raise TooMuchAtOnce("at most two")
        if text.startswith("down"):
            raise Unavailable("down")
        if text.startswith("slow"):
            raise Throttled("slow down", retry_after=self.retry_after)
        if text.startswith("bug"):
            raise ZeroDivisionError


async def answers(
    requests: TextRequests, texts: Sequence[str], tokens: Sequence[int] | None = None
) -> dict[str, float | str]:
    """Ask for vectors; gives the first number of each, or the error of a refused text."""
    counts = tokens or [len(text) for text in texts]
    found: dict[str, float | str] = {}
    async with asyncio.timeout(5):
        async for answer in requests.embed(texts, counts):
            for row, place in enumerate(answer.positions):
                assert texts[place] not in found
                found[texts[place]] = (
                    type(answer.vectors).__name__
                    if isinstance(answer.vectors, Permanent)
                    else float(answer.vectors[row, 0])
                )
    return found


async def test_every_text_gets_its_own_vector() -> None:
    texts = ["a" * size for size in (3, 9, 1, 7, 5, 2, 8)]

    found = await answers(TextRequests(Embeds()), texts)

    assert found == {text: len(text) for text in texts}


async def test_no_text_needs_no_request() -> None:
    embedder = Embeds()

    assert await answers(TextRequests(embedder), []) == {}
    assert embedder.requests == []


async def test_texts_of_many_batches_share_requests_sorted_by_length() -> None:
    embedder = Embeds(texts=3, concurrency=1)
    requests = TextRequests(embedder)
    embedder.gate.clear()
    first = asyncio.create_task(answers(requests, ["x"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [
        asyncio.create_task(answers(requests, texts))
        for texts in (["aaaa", "b"], ["cc", "ddd"], ["eeeee", "ffffff"])
    ]
    await asyncio.sleep(0)
    embedder.gate.set()

    found = [await task for task in (first, *others)]

    assert found[1:] == [{"aaaa": 4, "b": 1}, {"cc": 2, "ddd": 3}, {"eeeee": 5, "ffffff": 6}]
    assert embedder.requests == [["x"], ["ffffff", "eeeee", "aaaa"], ["ddd", "cc", "b"]]


async def test_a_request_shared_by_two_batches_is_counted_once() -> None:
    embedder = Embeds(texts=4, concurrency=1)
    requests = TextRequests(embedder)

    async def calls(*texts: str) -> int:
        return sum([answer.calls async for answer in requests.embed(texts, [1] * len(texts))])

    counted = await asyncio.gather(calls("a", "b"), calls("c", "d"))

    assert len(embedder.requests) == 1
    assert sorted(counted) == [0, 1]
    assert requests.embedded == 4


async def test_a_request_stays_within_the_limits() -> None:
    embedder = Embeds(texts=100, tokens=20)
    texts = [f"{number:02}" for number in range(30)]

    await answers(TextRequests(embedder), texts, tokens=[7] * 28 + [50, 2])

    assert sorted(len(request) for request in embedder.requests) == [1] * 2 + [2] * 14
    assert embedder.most_under_way == 2


async def test_more_texts_than_a_window_holds_are_all_embedded() -> None:
    embedder = Embeds(texts=1000, tokens=10_000_000)
    texts = [str(number) for number in range(WINDOW + 10)]

    found = await answers(TextRequests(embedder), texts)

    assert found == {text: len(text) for text in texts}


@pytest.mark.parametrize("place", range(7))
async def test_halving_finds_the_texts_to_blame(place: int) -> None:
    texts = [f"text {number}" for number in range(7)]
    texts[place] = f"bad {place}"
    embedder = Embeds(texts=7)

    found = await answers(TextRequests(embedder), texts)

    assert found == {text: len(text) for text in texts} | {texts[place]: "BadChunk"}
    assert len(embedder.requests) <= 7  # a search, not one request a text


async def test_two_bad_texts_are_both_found() -> None:
    texts = ["bad 1", "fine", "good", "bad 2", "nice"]

    found = await answers(TextRequests(Embeds(texts=5)), texts)

    assert found == {"bad 1": "BadChunk", "bad 2": "BadChunk", "fine": 4, "good": 4, "nice": 4}


async def test_a_bad_text_does_not_harm_another_batch_in_its_request() -> None:
    requests = TextRequests(Embeds(texts=4))

    good, bad = await asyncio.gather(answers(requests, ["a", "b"]), answers(requests, ["bad", "c"]))

    assert good == {"a": 1, "b": 1}
    assert bad == {"bad": "BadChunk", "c": 1}


async def test_an_outage_reaches_every_batch_of_the_request_and_no_other() -> None:
    embedder = Embeds(texts=2, concurrency=1)
    requests = TextRequests(embedder)

    results = await asyncio.gather(
        answers(requests, ["down"], tokens=[9]),
        answers(requests, ["x"], tokens=[9]),
        answers(requests, ["y"], tokens=[1]),
        return_exceptions=True,
    )

    assert [type(result) for result in results] == [Unavailable, Unavailable, dict]


async def test_an_outage_is_told_from_a_text_over_which_the_provider_breaks() -> None:
    embedder = Embeds(texts=4, concurrency=1)

    with pytest.raises(Unavailable) as away:
        await answers(TextRequests(embedder), ["down"])
    embedder.away = False
    with pytest.raises(Unavailable) as here:
        await answers(TextRequests(embedder), ["down"])

    assert (away.value.system, here.value.system) == ("provider", "")


async def test_a_text_over_which_the_provider_breaks_fails_alone() -> None:
    embedder = Embeds(texts=8, concurrency=1)
    embedder.away = False
    requests = TextRequests(embedder)
    others = [f"text {number}" for number in range(7)]

    *results, failure = await asyncio.gather(
        *(answers(requests, [text]) for text in others),
        answers(requests, ["down"]),
        return_exceptions=True,
    )

    assert results == [{text: 6} for text in others]
    assert isinstance(failure, Unavailable)


async def test_being_throttled_says_for_how_long() -> None:
    with pytest.raises(Throttled) as caught:
        await answers(TextRequests(Embeds()), ["slow"])

    assert caught.value.retry_after == 2.0


@pytest.mark.parametrize("trouble", ["short", "nan"])
async def test_wrong_vectors_are_never_passed_on(trouble: str) -> None:
    with pytest.raises(Transient, match="shape"):
        await answers(TextRequests(Embeds()), [trouble, "b"])


async def test_an_embedder_that_breaks_leaves_nobody_waiting_and_no_slot_taken() -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    embedder = Embeds(texts=1, concurrency=1)
    requests = TextRequests(embedder)

    for _ in range(3):
        with pytest.raises(Unavailable):
            await answers(requests, ["bug"])

    assert await answers(requests, ["fine"]) == {"fine": 4}


async def test_a_consumer_that_is_gone_costs_no_more_requests() -> None:
    embedder = Embeds(texts=1, concurrency=1)
    requests = TextRequests(embedder)
    embedder.gate.clear()
    task = asyncio.create_task(answers(requests, ["aaa", "bb", "c"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    embedder.gate.set()

    assert await answers(requests, ["later"]) == {"later": 5}
    assert len(embedder.requests) <= 3


async def test_after_an_error_the_rest_of_the_batch_is_not_embedded() -> None:
    embedder = Embeds(texts=1, concurrency=1)
    requests = TextRequests(embedder)

    with pytest.raises(Unavailable):
        await answers(requests, ["down but long", "b", "c"])

    assert await answers(requests, ["later"]) == {"later": 5}
    assert len(embedder.requests) <= 3


async def test_what_is_under_way_when_another_request_fails_is_given_all_the_same() -> None:
    """It is paid for: whoever asked keeps it before it gives up."""
    embedder = Embeds(texts=1, concurrency=2)
    requests = TextRequests(embedder)
    got: list[int] = []

    async def ask() -> None:
        async for answer in requests.embed(["down", "fine", "never"], [9, 8, 1]):
            got.extend(answer.positions.tolist())

    with pytest.raises(Unavailable):
        await ask()

    assert got == [1]
    assert embedder.requests == [["down"], ["fine"]]


async def test_after_an_error_nobody_waits_for_a_half_that_holds_none_of_its_texts() -> None:
    requests = TextRequests(Embeds(texts=2, concurrency=2))

    results = await asyncio.gather(
        answers(requests, ["down", "fine"], tokens=[9, 8]),
        answers(requests, ["along", "bad"], tokens=[9, 7]),
        return_exceptions=True,
    )

    assert [type(result) for result in results] == [Unavailable, Unavailable]


async def test_after_being_throttled_nobody_asks_before_the_time_is_over() -> None:
    clock = asyncio.get_running_loop().time
    embedder = Embeds(texts=1, concurrency=1, retry_after=0.2)
    requests = TextRequests(embedder)

    began = clock()
    with pytest.raises(Throttled):
        await answers(requests, ["slow"])
    found = await answers(requests, ["later"])

    assert found == {"later": 5}
    assert clock() - began >= 0.2


async def test_a_refused_key_costs_one_request_and_not_one_for_each_half() -> None:
    embedder = Embeds(texts=8)

    found = await answers(TextRequests(embedder), [f"key {number}" for number in range(8)])

    assert set(found.values()) == {"KeyRefused"}
    assert len(embedder.requests) == 1


async def test_a_request_that_is_too_large_for_the_provider_is_halved() -> None:
    embedder = Embeds(texts=8)
    texts = [f"much {number}" for number in range(5)]

    found = await answers(TextRequests(embedder), texts)

    assert found == {text: len(text) for text in texts}
    assert max(map(len, embedder.requests[1:])) < 5


async def test_answers_say_which_texts_they_are_for() -> None:
    requests = TextRequests(Embeds(texts=2))
    places: list[int] = []

    async for answer in requests.embed(["a", "bb", "ccc"], [1, 2, 3]):
        assert isinstance(answer, Embedded)
        assert not isinstance(answer.vectors, DocumentFailed)
        places += answer.positions.tolist()

    assert sorted(places) == [0, 1, 2]


async def test_interactive_texts_need_not_wait_for_all_of_bulk() -> None:
    embedder = Embeds(concurrency=1)
    requests = TextRequests(embedder)
    bulk = asyncio.create_task(everything(requests.of_lane[Lane.BULK], ["bulk"] * 40))
    while len(embedder.requests) < 2:  # noqa: ASYNC110 - nobody tells us
        await asyncio.sleep(0)

    await everything(requests.of_lane[Lane.INTERACTIVE], ["now"] * 8)

    assert len(embedder.requests) <= 7
    assert embedder.requests[-4:].count(["now"] * 4) == 2
    await bulk
    assert len(embedder.requests) == 12


async def everything(embed: EmbedTexts, texts: Sequence[str]) -> None:
    async for _ in embed(texts, [1] * len(texts)):
        pass


async def test_metrics_tell_of_texts_tokens_and_how_calls_ended() -> None:
    metrics = PrometheusMetrics()
    requests = TextRequests(Embeds(texts=2, retry_after=0.001), metrics, "openai")

    await answers(requests, ["a", "bad", "c"], tokens=[5, 6, 7])
    for text, error in (("slow", Throttled), ("down", Unavailable)):
        with pytest.raises(error):
            await answers(requests, [text])

    found = risen(written([], metrics))
    calls = "vectorflow_provider_calls_total"
    assert found['vectorflow_embedding_texts_total{embedder="openai"}'] == 2
    assert found['vectorflow_embedding_tokens_total{embedder="openai"}'] == 12
    assert found[f'{calls}{{embedder="openai",outcome="throttled"}}'] == 1
    # two that held the bad text, the one that was away, and whether it is
    assert found[f'{calls}{{embedder="openai",outcome="error"}}'] == 4
    good = found[f'{calls}{{embedder="openai",outcome="ok"}}']
    assert good == found['vectorflow_stage_duration_seconds_count{stage="embed"}'] == 2
