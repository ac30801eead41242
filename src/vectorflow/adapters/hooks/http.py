"""Hooks over HTTP, through the guarded client."""

import contextlib
import hashlib
import re
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from email.message import Message
from typing import Self
from urllib.parse import unquote, urlsplit

import numpy as np
import orjson

from vectorflow.adapters._addresses import Lookup, hook_policy, system_lookup
from vectorflow.adapters._http import Answer, Call, GuardedClient
from vectorflow.errors import HookRefused, InvalidInput, TooLarge
from vectorflow.ports.hooks import Candidate, Delivery, Fetched, Hooks, Valid

_JSON = {"Content-Type": "application/json"}
_OK, _REDIRECT, _CLIENT_ERROR = 200, 300, 400
_KEY = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")
_MAX_ANSWER = 64 << 20
_MAX_EXTRA = 16 << 10
_JSON_BYTES = 6
"""Bytes that JSON may take for one of the text: a sixth of an escape."""
_REDIRECTS = 3
_SLOWEST = 128 << 10
"""Bytes a second below which a body is given up."""
_MAX_NAME = 255


class HttpHooks(Hooks):
    """An async context manager with one pool of connections."""

    def __init__(
        self,
        allow: Sequence[str],
        timeout: float,
        *,
        offline: bool = False,
        lookup: Lookup = system_lookup,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Make it; nothing is connected yet.

        Args:
            allow: What may be called though it is not public, or without TLS.
            timeout: Seconds of one call; a body that is fetched gets more for its limit.
            offline: Nothing but this machine may be called.
            lookup: Finds the addresses of names.
            tls: Who is trusted; not given, the authorities of the system.

        Raises:
            InvalidSetting: `allow` holds what is no host.
        """
        policy = hook_policy(allow, offline=offline)
        self._client = GuardedClient(policy, idle=timeout, lookup=lookup, tls=tls)
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.__aexit__(*exc)

    async def deliver(self, url: str, key: str, delivery: Delivery) -> None:
        headers = {
            **_JSON,
            "X-Embeddings-Webhook-Key": _header(key),
            # The same on each try, so that a receiver can drop repeats.
            "X-VectorFlow-Delivery": _delivery_id(delivery),
        }
        body = _delivery_body(delivery)
        call = Call(url=url, body=body, headers=headers, seconds=self._timeout)
        async with self._client.call(call) as answer:
            _check(answer, "the webhook")

    async def validate(self, url: str, candidates: Sequence[Candidate]) -> Sequence[Valid]:
        if not candidates:
            return []
        chunks = [{"text": one.text, "chunk_id": one.chunk_id} for one in candidates]
        body = _json({"chunks": chunks})
        call = Call(url=url, body=body, headers=_JSON, seconds=self._timeout)
        limit = min(_MAX_ANSWER, _JSON_BYTES * (len(body) + _MAX_EXTRA * len(candidates)))
        async with self._client.call(call) as answer:
            _check(answer, "the validation hook")
            reader = _AnswerReader(answer.host, candidates)
            if answer.status != _OK or answer.encoding:
                raise reader.refusal(f"answered {answer.status} without plain JSON")
            try:
                return reader.read(await answer.read(limit))
            except TooLarge:
                raise reader.refusal(f"answered with more than {limit:,} bytes") from None

    @contextlib.asynccontextmanager
    async def fetch(self, url: str, *, limit: int) -> AsyncGenerator[Fetched]:
        seconds = self._timeout + limit / _SLOWEST
        call = Call(url=url, seconds=seconds, redirects=_REDIRECTS)
        async with self._client.call(call) as answer:
            _check(answer, "the address", fix="it may have expired: make a new one")
            if answer.status != _OK or answer.encoding:
                fix = "give the address of a whole file, kept without Content-Encoding"
                message = f"the address at {answer.host!r} answered without a plain file"
                raise HookRefused(f"{message} ({answer.status})", fix=fix)
            if answer.size is not None and answer.size > limit:
                message = f"the file at {answer.host!r} is longer than {limit:,} bytes"
                raise TooLarge(message)
            name = file_name(url, answer.headers)
            async with contextlib.aclosing(answer.blocks(limit)) as blocks:
                yield Fetched(name=name, size=answer.size, blocks=blocks)


class _AnswerReader:
    """Reads what a validation hook answered about some chunks."""

    def __init__(self, host: str, candidates: Sequence[Candidate]) -> None:
        self._host = host
        self._places = {one.chunk_id: place for place, one in enumerate(candidates)}

    def read(self, body: bytes) -> list[Valid]:
        """Give the kept chunks in the order of the candidates.

        Raises:
            HookRefused: It is not what was agreed.
        """
        try:
            answer: object = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise self.refusal("did not answer with JSON") from None
        kept = answer.get("valid_chunks") if isinstance(answer, dict) else None
        if not isinstance(kept, list):
            raise self.refusal("did not answer with a list of 'valid_chunks'")
        valid = {one.chunk_id: one for one in map(self._valid, kept)}
        if len(valid) < len(kept):
            raise self.refusal("answered with a chunk twice")
        return sorted(valid.values(), key=lambda one: self._places[one.chunk_id])

    def refusal(self, why: str) -> HookRefused:
        """Give the error, which names the host and nothing of the answer."""
        fix = 'answer with {"valid_chunks": [{"text", "chunk_id"}]}, chunks that were sent'
        return HookRefused(f"the validation hook at {self._host!r} {why}", fix=fix)

    def _valid(self, item: object) -> Valid:
        if not isinstance(item, dict):
            raise self.refusal("answered with a chunk that is no object")
        chunk_id, text = item.pop("chunk_id", None), item.pop("text", None)
        if not isinstance(chunk_id, str) or chunk_id not in self._places:
            raise self.refusal("answered with a chunk that was not sent")
        if not isinstance(text, str) or not text.strip():
            raise self.refusal("answered with a chunk without text")
        if _json_size(item) > _MAX_EXTRA:
            raise self.refusal(f"added more than {_MAX_EXTRA:,} bytes to a chunk")
        return Valid(chunk_id=chunk_id, text=text, extra=item)


def _check(answer: Answer, what: str, *, fix: str = "") -> None:
    """Refuse what is no 2xx."""
    if trouble := answer.trouble():
        raise trouble
    who = f"{what} at {answer.host!r} answered {answer.status}"
    if answer.status >= _CLIENT_ERROR:
        raise HookRefused(who, fix=fix or "look into its log")
    if not _OK <= answer.status < _REDIRECT:
        raise HookRefused(f"{who}; redirects are not followed", fix="give the final address")


def _header(key: str) -> str:
    if not _KEY.fullmatch(key):
        fix = "use printable ASCII characters, without a blank at either end"
        raise InvalidInput("the webhook's key cannot be sent as a header", fix=fix)
    return key


def _delivery_id(delivery: Delivery) -> str:
    named = orjson.dumps([delivery.job, *delivery.chunk_ids])
    return hashlib.sha256(named).hexdigest()[:32]


def _delivery_body(delivery: Delivery) -> bytes:
    rows = np.ascontiguousarray(delivery.vectors, dtype=np.float32)
    chunks = zip(delivery.texts, delivery.chunk_ids, rows, delivery.extras, strict=True)
    return _json(
        {
            "Embeddings": [
                {**extra, "text": text, "chunk_id": chunk_id, "vector": row}
                for text, chunk_id, row, extra in chunks
            ],
            "DocumentID": delivery.document_id,
            "JobID": delivery.job,
        }
    )


def _json(value: object) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError:
        # Half a surrogate pair, or a tree too deep; the cause may quote it.
        raise InvalidInput("a chunk cannot be written as JSON") from None


def _json_size(value: object) -> int:
    """Bytes as JSON; more than any limit for what is too deep to be written again."""
    try:
        return len(orjson.dumps(value))
    except orjson.JSONEncodeError:
        return _MAX_ANSWER


def file_name(url: str, headers: Mapping[str, str]) -> str:
    """Give the last part of the path, else what the answer calls the file; it is data."""
    return _plain(unquote(urlsplit(url).path)) or _plain(_disposition(headers))


def _disposition(headers: Mapping[str, str]) -> str:
    message = Message()
    given = headers.get("Content-Disposition", "").encode("utf-8", "replace").decode()
    # What `email` raises for a header that nobody would send in good faith.
    with contextlib.suppress(LookupError, TypeError, ValueError):
        message["Content-Disposition"] = given
        return message.get_filename() or ""
    return ""


def _plain(name: str) -> str:
    """Drop folders and what cannot be shown."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(filter(str.isprintable, last)).strip()[:_MAX_NAME]
    return "" if shown in {".", ".."} else shown
