"""OpenAI, and every server that speaks as it does: TEI, vLLM, Infinity, Ollama, LM Studio, ..."""

import asyncio
import ipaddress
import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from types import MappingProxyType
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import orjson

from vectorflow.adapters._openai_answers import error_of_answer, matrix_of_answer, most_bytes
from vectorflow.adapters._openai_bpe import encoding
from vectorflow.adapters._openai_errors import Refusal, error_of
from vectorflow.domain.pipelines import Fingerprint
from vectorflow.domain.records import Matrix
from vectorflow.errors import BadChunk, InvalidInput, KeyRefused, Unavailable
from vectorflow.ports.embedder import Embedder, EmbedderLimits, Purpose

BASE_URL: Final = "https://api.openai.com/v1"

MAX_TEXT_TOKENS: Final = 8191
REQUEST_TEXTS: Final = 256
"""OpenAI takes 2,048; their answer would fall out of the core's cache and cost more to read."""
REQUEST_TOKENS: Final = 280_000
"""OpenAI takes 300,000; a chunk may have a few more than it was counted to have in its document."""

_MOST_ERROR_BYTES: Final = 1 << 16
_OK: Final = 200
_MOST_DIMENSIONS: Final = 65_536
_WITH_DIMENSIONS: Final = re.compile(r"(.+)@(\d{1,5})", re.ASCII | re.DOTALL)


class _Known(NamedTuple):
    dimensions: int
    shortens: bool


MODELS: Final[Mapping[str, _Known]] = MappingProxyType(
    {
        "text-embedding-3-small": _Known(1536, shortens=True),
        "text-embedding-3-large": _Known(3072, shortens=True),
        "text-embedding-ada-002": _Known(1536, shortens=False),
    }
)
"""OpenAI's own."""


class OpenAiEmbedder(Embedder):
    """Sends texts to a provider. Tries nothing twice: that is for its caller to do.

    A text that is longer than one of OpenAI's models reads is cut at the end; what another model
    reads is not known here, so its server decides.
    """

    tokenizer = "cl100k"

    def __init__(
        self,
        model: str,
        *,
        key: str | None = None,
        base_url: str = BASE_URL,
        concurrency: int = 64,
        timeout: float = 60.0,
    ) -> None:
        """Choose the model; nothing is connected yet.

        Args:
            model: `MODEL`, or `MODEL@DIMENSIONS`: needed for models that are not OpenAI's, and
                shortens the vectors of `text-embedding-3-*`.
            key: Sent to the host of `base_url` only. Not needed on this machine.
            base_url: Without `/embeddings`.
            concurrency: Requests under way at once.
            timeout: Seconds that one request may take.

        Raises:
            InvalidInput: The model's dimensions are not known, or it has others.
        """
        name, dimensions, self._known = _parse(model)
        self._fields: dict[str, object] = {"model": name, "encoding_format": "base64"}
        if self._known and dimensions != self._known.dimensions:
            self._fields["dimensions"] = dimensions
        self._url = base_url.rstrip("/") + "/embeddings"
        self._host = urlsplit(base_url).hostname or ""
        self._key = key.strip() if key else ""
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self.fingerprint = Fingerprint(
            model=name, revision="", dimensions=dimensions, pooling="provider", normalized=True
        )
        self.limits = EmbedderLimits(
            max_text_tokens=MAX_TEXT_TOKENS,
            request_tokens=REQUEST_TOKENS,
            request_texts=REQUEST_TEXTS,
            concurrency=concurrency,
            paid=True,
        )

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.limits.concurrency),
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Packed vectors hardly get smaller, and unpacking them takes longer than all the rest.
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
            trust_env=False,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        session, self._session = self._session, None
        if session:
            await session.close()

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Matrix:  # noqa: ARG002 - one prefix for both: none
        if self._session is None:
            raise RuntimeError("an OpenAiEmbedder embeds inside `async with`")
        dimensions = self.fingerprint.dimensions
        if not texts:
            return np.empty((0, dimensions), dtype=np.float32)
        headers = self._authorization()
        if self._known and any(map(_may_be_too_long, texts)):
            texts = await asyncio.to_thread(self._fitted, texts)
        answer = await self._post(self._session, self._body(texts), headers, len(texts))
        return matrix_of_answer(answer, len(texts), dimensions)

    def _authorization(self) -> dict[str, str]:
        if self._key:
            if not (self._key.isascii() and self._key.isprintable()):
                raise KeyRefused(
                    "the key for the embedding provider holds characters that no key has",
                    fix="copy it again, without line ends or quotes",
                )
            return {"Authorization": f"Bearer {self._key}"}
        if _is_loopback(self._host):
            return {}
        raise KeyRefused(
            f"there is no key for the embedding provider {self._host}",
            fix="send one in X-EmbeddingAPI-Key, or set OPEN_AI_KEY; a server that asks for none"
            " takes any",
        )

    def _body(self, texts: Sequence[str]) -> bytes:
        for position, text in enumerate(texts):
            if not text:
                raise BadChunk("the chunk is empty", position=position)
        try:
            return orjson.dumps({**self._fields, "input": list(texts)})
        except TypeError:  # a lone surrogate is no JSON
            whole = [text.encode("utf-8", "replace").decode() for text in texts]
            return orjson.dumps({**self._fields, "input": whole})

    def _fitted(self, texts: Sequence[str]) -> list[str]:
        head = encoding(self.tokenizer).head
        return [head(text, MAX_TEXT_TOKENS) if _may_be_too_long(text) else text for text in texts]

    async def _post(
        self, session: aiohttp.ClientSession, body: bytes, headers: Mapping[str, str], texts: int
    ) -> bytes:
        try:
            async with session.post(
                self._url, data=BytesIO(body), headers=headers, allow_redirects=False
            ) as response:
                if response.status != _OK:
                    raise error_of(await self._refusal(response, texts))
                answer = await _read(response, most_bytes(texts, self.fingerprint.dimensions))
        except TimeoutError as error:
            message = f"the embedding provider {self._host} took more than {self._timeout:g} s"
            raise Unavailable(message) from error
        except (aiohttp.ClientError, OSError) as error:
            what = f"cannot be reached or broke off ({type(error).__name__})"
            raise Unavailable(f"the embedding provider {self._host} {what}") from error
        if answer is None:
            raise Unavailable(f"the embedding provider {self._host} answered with too much")
        return answer

    async def _refusal(self, response: aiohttp.ClientResponse, texts: int) -> Refusal:
        return Refusal(
            host=self._host,
            status=response.status,
            headers={name.lower(): value for name, value in response.headers.items()},
            error=error_of_answer(await _read(response, _MOST_ERROR_BYTES) or b""),
            texts=texts,
        )


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """Read a body; None if it is longer than it may be."""
    parts, size = list[bytes](), 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most:
            return None
    return b"".join(parts)


def _parse(model: str) -> tuple[str, int, _Known | None]:
    """Read `MODEL` or `MODEL@DIMENSIONS`."""
    found = _WITH_DIMENSIONS.fullmatch(model)
    name = found[1] if found else model
    known = MODELS.get(name)
    if found:
        return name, _checked(name, int(found[2]), known), known
    if known:
        return name, known.dimensions, known
    raise InvalidInput(
        f"the dimensions of the embedding model {name!r} are not known",
        fix=f"add them, as in openai:{name or 'MODEL'}@1024",
    )


def _checked(name: str, dimensions: int, known: _Known | None) -> int:
    most = known.dimensions if known else _MOST_DIMENSIONS
    least = most if known and not known.shortens else 1
    if not least <= dimensions <= most:
        raise InvalidInput(
            f"the embedding model {name!r} gives no vectors of {dimensions} dimensions",
            fix=f"use {least} to {most}" if least < most else f"use {most}",
        )
    return dimensions


def _may_be_too_long(text: str) -> bool:
    return len(text.encode("utf-8", "replace")) > MAX_TEXT_TOKENS  # no token is shorter than a byte


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
