"""Texts that are embedded once: looked up in the cache, and never under way twice at a time."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from vectorflow.domain.grouping import Grouped
from vectorflow.domain.records import Matrix
from vectorflow.errors import Permanent, Throttled, Transient
from vectorflow.ports.vector_cache import CacheScope, Found, VectorCache
from vectorflow.service.embed import Embedded

AT_ONCE = 4096
"""Texts that are looked up or kept in one call, unless one batch has more."""

EmbedEach = Callable[[Sequence[str], Sequence[int]], AsyncGenerator[Embedded]]
"""Embeds texts, of which each is in exactly one answer; see `TextRequests.embed`."""

_Answer = Matrix | Permanent | Transient | None
"""What became of a text that another batch asked for; None if that batch was given up."""

_Waiting = dict[bytes, asyncio.Future[_Answer]]
"""By input hash."""


class _Made(NamedTuple):
    keys: list[bytes]
    vectors: Matrix


class _Asked(NamedTuple):
    """What one batch wants embedded."""

    keys: Sequence[bytes]
    texts: Sequence[str]
    tokens: Sequence[int]


class SharedTexts:
    """Embeds for the batches of one tenant and one account; see `vectorflow.service.embed`."""

    def __init__(self, embed: EmbedEach, cache: VectorCache, scope: CacheScope) -> None:
        self._embed = embed
        self._cache = cache
        self._scope = scope
        self._under_way: _Waiting = {}
        """Texts are here until the cache has their vectors."""
        self._find: Grouped[Sequence[bytes], Found] = Grouped(
            self._find_all, weight=len, limit=AT_ONCE
        )
        self._keep: Grouped[_Made, None] = Grouped(
            self._keep_all, weight=lambda made: len(made.keys), limit=AT_ONCE
        )

    async def embed(
        self, keys: Sequence[bytes], texts: Sequence[str], tokens: Sequence[int]
    ) -> AsyncGenerator[Embedded]:
        """Give what is cached, then what this batch embeds, then what others embedded for theirs.

        Where another batch failed over what may be its own fault, this one asks apart from others.

        Raises:
            Transient: A request failed that might work later, ours or that of another batch.
        """
        asked = _Asked(keys, texts, tokens)
        found = await self._find(keys)
        if len(found.positions):
            yield Embedded(found.positions, found.vectors, 0, shared=True, cached=True)
        left = np.delete(np.arange(len(keys)), found.positions).tolist()
        apart = set[int]()
        while left:
            waits = [at for at in left if at not in apart and keys[at] in self._under_way]
            others = {at: self._under_way[keys[at]] for at in waits}
            own = [at for at in left if at not in others]
            if own:
                async with aclosing(self._lead(asked, own)) as answers:
                    async for answer in answers:
                        yield answer
            if others:
                await asyncio.wait(others.values())
            theirs = {at: other.result() for at, other in others.items()}
            for answer in _shared(theirs):
                yield answer
            apart |= {at for at, answer in theirs.items() if isinstance(answer, Transient)}
            left = [at for at, answer in theirs.items() if answer is None or at in apart]

    async def _lead(self, asked: _Asked, own: Sequence[int]) -> AsyncGenerator[Embedded]:
        """Embed texts that nobody else embeds just now, and tell those who wait for them."""
        loop = asyncio.get_running_loop()
        mine: _Waiting = {asked.keys[at]: loop.create_future() for at in own}
        self._under_way |= mine
        failure: Transient | None = None
        try:
            texts = [asked.texts[at] for at in own]
            tokens = [asked.tokens[at] for at in own]
            async with aclosing(self._embed(texts, tokens)) as answers:
                async for answer in answers:
                    positions = np.array(own, dtype=np.intp)[answer.positions]
                    keys = [asked.keys[at] for at in positions.tolist()]
                    _tell(mine, keys, answer.vectors)
                    yield answer._replace(positions=positions)
                    if not isinstance(answer.vectors, Permanent):
                        await self._keep(_Made(keys, answer.vectors))
                    self._forget(mine, keys)
        except Transient as error:
            failure = error
            raise
        finally:
            self._forget(mine, mine)
            for waiting in mine.values():
                if not waiting.done():
                    waiting.set_result(failure)

    def _forget(self, mine: _Waiting, keys: Iterable[bytes]) -> None:
        """Let the next batch that asks for them embed these; another may do so already."""
        for key in keys:
            if self._under_way.get(key) is mine[key]:
                del self._under_way[key]

    async def _find_all(self, items: Sequence[Sequence[bytes]]) -> Sequence[Found]:
        found = await self._cache.find(self._scope, [key for keys in items for key in keys])
        ends = list(accumulate(map(len, items)))
        cuts = np.searchsorted(found.positions, [0, *ends])
        return [
            Found(found.positions[first:last] - end + len(keys), found.vectors[first:last])
            for keys, end, first, last in zip(items, ends, cuts[:-1], cuts[1:], strict=True)
        ]

    async def _keep_all(self, items: Sequence[_Made]) -> Sequence[None]:
        keys = [key for made in items for key in made.keys]
        await self._cache.keep(self._scope, keys, np.concatenate([made.vectors for made in items]))
        return [None] * len(items)


def _tell(waiting: _Waiting, keys: Sequence[bytes], vectors: Matrix | Permanent) -> None:
    answers = [vectors] * len(keys) if isinstance(vectors, Permanent) else vectors
    for key, answer in zip(keys, answers, strict=True):
        waiting[key].set_result(answer)


def _shared(answers: Mapping[int, _Answer]) -> Iterator[Embedded]:
    """Give what others embedded for us.

    Raises:
        Transient: It would be so for us: the provider is away, or wants no requests. All that went
            well was given before.
    """
    good = {at: answer for at, answer in answers.items() if isinstance(answer, np.ndarray)}
    if good:
        positions = np.array(list(good), dtype=np.intp)
        yield Embedded(positions, np.stack(list(good.values())), 0, shared=True)
    for at, answer in answers.items():
        if isinstance(answer, Permanent):
            yield Embedded(np.array([at], dtype=np.intp), answer, 0, shared=True)
    for answer in answers.values():
        if isinstance(answer, Throttled) or (isinstance(answer, Transient) and answer.system):
            raise answer
