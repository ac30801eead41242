"""A text is embedded once: by the cache, or by whoever asked for it first."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from vectorflow.adapters.vector_caches.files import FileVectorCache
from vectorflow.domain.pipelines import Fingerprint
from vectorflow.domain.records import Matrix
from vectorflow.errors import BadChunk, KeyRefused, Permanent, Unavailable
from vectorflow.ports.embedder import Embedder, EmbedderLimits, Purpose
from vectorflow.ports.vector_cache import CacheScope, NoCache, VectorCache
from vectorflow.service.embed import Embedded
from vectorflow.worker.shared_texts import SharedTexts
from vectorflow.worker.text_requests import TextRequests

MODEL = Fingerprint(model="m", revision="1", dimensions=2, pooling="none", normalized=False)
SCOPE = CacheScope(ledger="ledger", tenant="one", fingerprint=MODEL)


class Embeds(Embedder):
    """Waits for its gate; each vector is the length of its text; some texts are trouble."""

    fingerprint = MODEL
    tokenizer = "words"
    limits = EmbedderLimits(
        max_text_tokens=100, request_tokens=1000, request_texts=2, concurrency=8
    )

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()
        self.away = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Matrix:
        self.texts += texts
        self.asked.set()
        await self.gate.wait()
        if any(text.startswith("bad") for text in texts):
            raise BadChunk("refused", position=0)
        if any(text.startswith("key") for text in texts):
            raise KeyRefused("the key is not good")
        if self.away or any(text.startswith("down") for text in texts):
            raise Unavailable("down")
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


def keys_of(texts: Sequence[str]) -> list[bytes]:
    return [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]


def answers(shared: SharedTexts, *texts: str) -> AsyncGenerator[Embedded]:
    return shared.embed(keys_of(texts), texts, [len(text) for text in texts])


class Told:
    """What one batch was told."""

    def __init__(self) -> None:
        self.vectors: dict[str, float] = {}
        self.refused: dict[str, str] = {}
        self.calls = self.own = self.cached = 0


async def told(shared: SharedTexts, *texts: str) -> Told:
    got = Told()
    async with asyncio.timeout(5), aclosing(answers(shared, *texts)) as given:
        async for answer in given:
            got.calls += answer.calls
            for row, place in enumerate(answer.positions.tolist()):
                assert texts[place] not in got.vectors | got.refused
                got.own += not answer.shared
                got.cached += answer.cached
                if isinstance(answer.vectors, Permanent):
                    got.refused[texts[place]] = answer.vectors.code
                else:
                    got.vectors[texts[place]] = float(answer.vectors[row, 0])
    return got


async def until_asked(embedder: Embeds, count: int) -> None:
    async with asyncio.timeout(5):
        while len(embedder.texts) < count:
            embedder.asked.clear()
            await embedder.asked.wait()


async def until_all_wait() -> None:
    """Let every task get as far as it can without an answer of the embedder."""
    for _ in range(50):
        await asyncio.sleep(0)


def shared_by(embedder: Embeds, cache: VectorCache | None = None) -> SharedTexts:
    return SharedTexts(TextRequests(embedder).embed, cache or NoCache(), SCOPE)


async def test_a_text_under_way_in_one_batch_is_awaited_by_another() -> None:
    embedder = Embeds()
    shared = shared_by(embedder)
    one = asyncio.create_task(told(shared, "a", "bb"))
    await until_asked(embedder, 2)
    other = asyncio.create_task(told(shared, "bb", "ccc", "a"))
    await until_asked(embedder, 3)
    embedder.gate.set()

    first, second = await one, await other

    assert first.vectors == {"a": 1.0, "bb": 2.0}
    assert second.vectors == {"bb": 2.0, "ccc": 3.0, "a": 1.0}
    assert sorted(embedder.texts) == ["a", "bb", "ccc"]
    assert (first.own, second.own) == (2, 1)
    assert (first.calls, second.calls) == (1, 1)


async def test_batches_that_wait_for_each_other_both_end() -> None:
    embedder = Embeds()
    embedder.gate.set()
    shared = shared_by(embedder)

    both = await asyncio.gather(
        *(told(shared, *texts) for texts in (["a", "bb", "ccc"], ["ccc", "dddd", "a"]) * 4)
    )

    assert [len(one.vectors) for one in both] == [3] * 8
    assert sorted(embedder.texts) == ["a", "bb", "ccc", "dddd"]


async def test_a_batch_that_is_given_up_fails_nobody_who_waits_for_its_texts() -> None:
    embedder = Embeds()
    shared = shared_by(embedder)
    one = asyncio.create_task(told(shared, "a"))
    await until_asked(embedder, 1)
    others = [asyncio.create_task(told(shared, "a", "bb")) for _ in range(3)]
    await until_asked(embedder, 2)

    one.cancel()
    await asyncio.wait([one])
    embedder.gate.set()

    for other in others:
        assert (await other).vectors == {"a": 1.0, "bb": 2.0}
    assert embedder.texts.count("a") == 2


@pytest.mark.parametrize(("text", "code"), [("bad", BadChunk.code), ("key", KeyRefused.code)])
async def test_a_text_that_is_refused_is_refused_for_all_who_asked(text: str, code: str) -> None:
    embedder = Embeds()
    shared = shared_by(embedder)
    one = asyncio.create_task(told(shared, text))
    await until_asked(embedder, 1)
    other = asyncio.create_task(told(shared, text, "fine"))
    await until_asked(embedder, 2)
    embedder.gate.set()

    assert (await one).refused == {text: code}
    got = await other
    assert (got.refused, got.vectors) == ({text: code}, {"fine": 4.0})
    assert embedder.texts.count(text) == 1


async def test_a_provider_that_is_away_is_so_for_all_who_wait_and_is_asked_anew_later() -> None:
    embedder = Embeds()
    embedder.away = True
    shared = shared_by(embedder)
    one = asyncio.create_task(told(shared, "a"))
    await until_asked(embedder, 1)
    other = asyncio.create_task(told(shared, "a"))
    await until_all_wait()
    embedder.gate.set()

    for batch in (one, other):
        with pytest.raises(Unavailable):
            await batch
    assert embedder.texts.count("a") == 1
    embedder.away = False
    assert (await told(shared, "a")).vectors == {"a": 1.0}


async def test_a_text_over_which_the_provider_breaks_fails_no_batch_that_does_not_have_it() -> None:
    embedder = Embeds()
    embedder.limits = replace(embedder.limits, request_texts=1, concurrency=1)
    shared = shared_by(embedder)
    one = asyncio.create_task(told(shared, "ok", "down", "a long one"))
    await until_asked(embedder, 1)
    others = [asyncio.create_task(told(shared, *texts)) for texts in (["ok", "a long one"],) * 3]
    await until_all_wait()
    assert len(embedder.texts) == 1
    embedder.gate.set()

    with pytest.raises(Unavailable):
        await one
    for other in others:
        assert (await other).vectors == {"ok": 2.0, "a long one": 10.0}


async def test_what_is_cached_is_not_embedded(tmp_path: Path) -> None:
    embedder = Embeds()
    embedder.gate.set()
    cache = FileVectorCache(tmp_path, max_bytes=1 << 20, max_age=1e6)
    await told(shared_by(embedder, cache), "a", "bb")

    again = await told(shared_by(embedder, cache), "ccc", "bb", "a")

    assert again.vectors == {"a": 1.0, "bb": 2.0, "ccc": 3.0}
    assert (again.own, again.cached, again.calls) == (1, 2, 1)
    assert sorted(embedder.texts) == ["a", "bb", "ccc"]
    await cache.close()


async def test_lookups_of_many_batches_at_once_each_get_their_own(tmp_path: Path) -> None:
    embedder = Embeds()
    embedder.gate.set()
    cache = FileVectorCache(tmp_path, max_bytes=1 << 20, max_age=1e6)
    shared = shared_by(embedder, cache)
    texts = ["a" * size for size in range(1, 40)]
    await told(shared, *texts[:30])

    got = await asyncio.gather(
        *(told(shared, *texts[start : start + 7]) for start in range(0, 32, 3))
    )

    for start, one in zip(range(0, 32, 3), got, strict=True):
        assert one.vectors == {text: float(len(text)) for text in texts[start : start + 7]}
    assert sum(one.own for one in got) == 7
    assert sorted(embedder.texts) == texts[:37]
    await cache.close()


async def test_another_tenant_pays_for_itself(tmp_path: Path) -> None:
    embedder = Embeds()
    embedder.gate.set()
    cache = FileVectorCache(tmp_path, max_bytes=1 << 20, max_age=1e6)
    requests = TextRequests(embedder).embed
    await told(SharedTexts(requests, cache, SCOPE), "a")

    got = await told(SharedTexts(requests, cache, replace(SCOPE, tenant="two")), "a")

    assert (got.own, got.cached) == (1, 0)
    assert embedder.texts == ["a", "a"]
    await cache.close()
