"""Texts of many batches and jobs -> full requests of one embedder."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from vectorflow.domain.jobs import LANES, Lane, Outcome
from vectorflow.domain.outages import SystemKind
from vectorflow.domain.packing import pack_by_length
from vectorflow.domain.records import Matrix
from vectorflow.errors import (
    CallRefused,
    Permanent,
    Throttled,
    TooMuchAtOnce,
    Transient,
    Unavailable,
    VectorFlowError,
)
from vectorflow.ports.embedder import Embedder
from vectorflow.ports.metrics import NO_METRICS, Metrics, timed
from vectorflow.service.embed import Embedded

WINDOW = 4096
"""Texts that are sorted by length together."""

GATHER_SECONDS = 0.02
"""Far less than a provider takes to answer."""

THROTTLED_SECONDS = 1.0
"""Pause after a request that was turned away without a word on how long to wait."""

LONGEST_PAUSE = 120.0
"""Seconds."""

SOON = 10.0
"""Seconds within which a request must have failed to be halved: many halves may be needed."""

HARMLESS = "Are you there?"
"""A text that any model embeds."""


@dataclass(eq=False, slots=True)
class _Asked:
    """The texts of one batch, and where its answers go."""

    answers: asyncio.Queue[Embedded | Transient | None] = field(default_factory=asyncio.Queue)
    """None says that a request has ended."""
    under_way: int = 0
    """Requests under way that hold texts of it."""
    gone: bool = False
    """Nothing more of it may be sent."""


@dataclass(frozen=True, slots=True)
class _Text:
    """One text on its way."""

    asked: _Asked
    position: int
    text: str
    tokens: int


class TextRequests:
    """Embeds what all batches ask for: sorted by length over a window, packed by tokens.

    Each lane sends its own requests, and they take turns where both want one.
    """

    def __init__(self, embedder: Embedder, metrics: Metrics = NO_METRICS, plugin: str = "") -> None:
        """Take an embedder; `plugin` is how metrics call it."""
        self._embedder = embedder
        self._metrics = metrics
        self._plugin = plugin
        self._limits = embedder.limits
        self.of_lane = {lane: partial(self.embed, lane=lane) for lane in LANES}
        """`embed` for the batches of a lane."""
        self.embedded = 0
        """Texts embedded so far, for people who watch."""
        self._slots = asyncio.Semaphore(self._limits.concurrency)
        self._pending: defaultdict[Lane, list[_Text]] = defaultdict(list)
        self._senders: dict[Lane, asyncio.Task[None]] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._paused_until = 0.0
        """By the clock of the event loop."""

    async def embed(
        self, texts: Sequence[str], tokens: Sequence[int], lane: Lane = Lane.BULK
    ) -> AsyncGenerator[Embedded]:
        """Give answers as requests come back; every text is in exactly one.

        Raises:
            Transient: A request failed that might work later. Nothing more is sent then, and what
                was under way, and is paid for, has been given before.
        """
        asked = _Asked()
        self._pending[lane] += [
            _Text(asked, position, text, count)
            for position, (text, count) in enumerate(zip(texts, tokens, strict=True))
        ]
        if lane not in self._senders:
            self._senders[lane] = asyncio.create_task(self._send(lane))
        left = len(texts)
        failure: Transient | None = None
        try:
            while asked.under_way or not asked.answers.empty() if failure else left:
                answer = await asked.answers.get()
                if answer is None:
                    continue
                if isinstance(answer, Transient):
                    failure = failure or answer
                    asked.gone = True
                    continue
                left -= len(answer.positions)
                yield answer
        finally:
            asked.gone = True
        if failure:
            raise failure

    async def _send(self, lane: Lane) -> None:
        """Pack what waits into requests, as fast as the embedder takes them."""
        while self._pending[lane]:
            await self._gather(lane)
            window = self._next_window(lane)
            packs = pack_by_length(
                [text.tokens for text in window],
                max_tokens=self._limits.request_tokens,
                max_texts=self._limits.request_texts,
            )
            for places in packs:
                await self._slots.acquire()
                await self._pause()
                texts = [window[place] for place in places if not window[place].asked.gone]
                for asked in {text.asked for text in texts}:
                    asked.under_way += 1
                task = asyncio.create_task(self._request_and_free(texts))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
        del self._senders[lane]

    async def _gather(self, lane: Lane) -> None:
        """Let texts of other batches join a request that is paid for and not full yet."""
        if self._limits.paid and len(self._pending[lane]) < self._limits.request_texts:
            await asyncio.sleep(GATHER_SECONDS)

    async def _pause(self) -> None:
        """Wait while the other side wants no requests: all of them would be turned away."""
        clock = asyncio.get_running_loop().time
        while (left := self._paused_until - clock()) > 0:  # noqa: ASYNC110 - pushed out meanwhile
            await asyncio.sleep(left)

    def _note(self, error: VectorFlowError) -> None:
        if isinstance(error, Throttled):
            seconds = error.retry_after or THROTTLED_SECONDS
            now = asyncio.get_running_loop().time()
            self._paused_until = max(self._paused_until, now + min(seconds, LONGEST_PAUSE))

    def _next_window(self, lane: Lane) -> list[_Text]:
        waiting = self._pending[lane]
        window, self._pending[lane] = waiting[:WINDOW], waiting[WINDOW:]
        return window

    async def _request_and_free(self, texts: Sequence[_Text]) -> None:
        answered = False
        try:
            await self._request(texts)
            answered = True
        finally:
            self._slots.release()
            for asked in {text.asked for text in texts}:
                asked.under_way -= 1
                asked.answers.put_nowait(None)
            if not answered:  # whatever happened, nobody may wait for ever
                _refuse(texts, Unavailable("the embedding request broke off"))

    async def _request(self, texts: Sequence[_Text]) -> None:
        """Send one request; a refused one is halved until the text to blame is found.

        Where it is not the texts that are refused, halves would be too. What fails while the
        provider answers others is halved as well, so that a text over which it breaks fails alone.
        """
        if not texts:
            return
        began = time.monotonic()
        try:
            vectors = await self._call([text.text for text in texts])
            self._check(vectors, len(texts))
        except Permanent as error:
            if len(texts) == 1 or not _may_pass_halved(error):
                _deliver(texts, error)
                return
            await self._halves(texts)
        except Transient as error:
            self._note(error)
            await self._failed(texts, error, time.monotonic() - began)
        else:
            self._note_embedded(texts)
            _deliver(texts, vectors)

    async def _failed(self, texts: Sequence[_Text], error: Transient, seconds: float) -> None:
        if isinstance(error, Unavailable):
            if await self._is_away():
                error.system = SystemKind.PROVIDER
            elif len(texts) > 1 and seconds < SOON:
                await self._halves(texts)
                return
        _refuse(texts, error)

    async def _halves(self, texts: Sequence[_Text]) -> None:
        middle = len(texts) // 2
        for half in (texts[:middle], texts[middle:]):
            await self._request([text for text in half if not text.asked.gone])

    async def _is_away(self) -> bool:
        """Ask for next to nothing: who answers that, and not a request, is not away."""
        try:
            await self._call([HARMLESS])
        except Transient:
            return True
        except Permanent:
            return False
        return False

    async def _call(self, texts: Sequence[str]) -> Matrix:
        """Call the embedder, and count how that ends."""
        outcome = Outcome.ERROR
        try:
            with timed(self._metrics, "embed"):
                vectors = await self._embedder.embed(texts, "document")
            outcome = Outcome.OK
        except Throttled:
            outcome = Outcome.THROTTLED
            raise
        finally:
            self._metrics.count(
                "vectorflow_provider_calls_total", embedder=self._plugin, outcome=outcome
            )
        return vectors

    def _note_embedded(self, texts: Sequence[_Text]) -> None:
        self.embedded += len(texts)
        tokens = sum(text.tokens for text in texts)
        self._metrics.count("vectorflow_embedding_texts_total", len(texts), embedder=self._plugin)
        self._metrics.count("vectorflow_embedding_tokens_total", tokens, embedder=self._plugin)

    def _check(self, vectors: Matrix, count: int) -> None:
        expected = (count, self._embedder.fingerprint.dimensions)
        if vectors.shape != expected or not np.isfinite(vectors).all():
            message = f"the embedder gave vectors of shape {vectors.shape}, expected {expected}"
            raise Unavailable(message)


def _may_pass_halved(error: Permanent) -> bool:
    return isinstance(error, TooMuchAtOnce) or not isinstance(error, CallRefused)


def _deliver(texts: Sequence[_Text], vectors: Matrix | Permanent) -> None:
    """Give each batch its share; the request itself is counted for the first."""
    places: defaultdict[_Asked, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        places[text.asked].append(place)
    calls = 1
    for asked, own in places.items():
        positions = np.array([texts[place].position for place in own], dtype=np.intp)
        share = vectors if isinstance(vectors, Permanent) else vectors[own]
        asked.answers.put_nowait(Embedded(positions, share, calls))
        calls = 0


def _refuse(texts: Sequence[_Text], error: Transient) -> None:
    for asked in {text.asked for text in texts}:
        asked.answers.put_nowait(error)
