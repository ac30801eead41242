"""The bare loop that VectorFlow is measured against: read, cut, sort, embed; nothing is kept.

    python -m benchmarks.bare_loop DIR

It runs the same model on the same runtime and cuts the same chunks, without intake, ledger, store
or retries: what is missing to its tokens per CPU second is what durability costs.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.measuring import cpu_seconds
from vectorflow.adapters.chunkers.default import DefaultChunker
from vectorflow.adapters.embedders.local import LocalEmbedder
from vectorflow.adapters.tokenizers.minilm import MiniLmTokenizer
from vectorflow.domain.documents import MAX_SECTION, Section
from vectorflow.domain.packing import pack_by_length
from vectorflow.domain.pipelines import Chunking
from vectorflow.domain.records import Matrix

CHUNKING = Chunking(chunker="default", size=254, overlap=31)


class Result(NamedTuple):
    """What a run gave, and what it took after the model was loaded."""

    vectors: Matrix
    tokens: int
    """Of all chunks, overlaps included, special tokens not."""
    cpu_seconds: float
    """User and system, of all threads and children."""
    cutting_seconds: float
    """Part of them that counting tokens and cutting took."""
    runtime: str
    """Name of the model's runtime."""


def run(texts: Sequence[str]) -> Result:
    """Embed the chunks of some texts, all in memory."""
    return asyncio.run(_run(texts))


async def _run(texts: Sequence[str]) -> Result:
    async with LocalEmbedder() as embedder:
        started = cpu_seconds()
        chunks, tokens = _cut(texts)
        cutting = cpu_seconds() - started
        limits = embedder.limits
        vectors = np.empty((len(chunks), embedder.fingerprint.dimensions), dtype=np.float32)
        requests = pack_by_length(
            tokens, max_tokens=limits.request_tokens, max_texts=limits.request_texts
        )

        async def embed() -> None:
            for rows in requests:
                vectors[rows] = await embedder.embed([chunks[row] for row in rows], "document")

        await asyncio.gather(*[embed() for _ in range(limits.concurrency)])
        spent = cpu_seconds() - started
        return Result(vectors, sum(tokens), spent, cutting, embedder.runtime or "")


def _cut(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    chunker = DefaultChunker(MiniLmTokenizer(), CHUNKING)
    chunks: list[str] = []
    tokens: list[int] = []
    for text in texts:
        for start in range(0, len(text), MAX_SECTION):
            section = Section(text=text[start : start + MAX_SECTION], start=start)
            spans = chunker.chunk(section)
            chunks.extend(section.text[a:b] for a, b in zip(spans.starts, spans.ends, strict=True))
            tokens.extend(spans.tokens.tolist())
    return chunks, tokens


def read_texts(folder: Path) -> Iterator[str]:
    """Read all files below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.read_text(errors="replace")


def main(folder: str) -> None:
    started = time.perf_counter()
    result = run(list(read_texts(Path(folder))))
    print(f"chunks                 {len(result.vectors):>10,}")
    print(f"tokens                 {result.tokens:>10,}")
    print(f"CPU seconds            {result.cpu_seconds:>10.2f}")
    print(f"seconds, with loading  {time.perf_counter() - started:>10.2f}")
    print(f"tokens per CPU second  {result.tokens / result.cpu_seconds:>10,.0f}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
