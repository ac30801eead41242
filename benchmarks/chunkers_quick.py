"""Measure the chunkers: speed, fill, and how many chunks one inserted sentence changes.

python -m benchmarks.chunkers_quick [FILE ...] (default: Python's own reference, as shipped with it)
"""

import json
import re
import sys
import time
from collections import Counter
from pathlib import Path
from pydoc_data import topics
from typing import ClassVar

import numpy as np

from vectorflow.adapters.chunkers.default import DefaultChunker
from vectorflow.adapters.chunkers.tokens import TokenChunker
from vectorflow.adapters.tokenizers.minilm import MiniLmTokenizer
from vectorflow.adapters.tokenizers.words import WordTokenizer
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.tokenizer import Tokenizer, TokenOffsets

DOCUMENT_CHARACTERS = 60_000
SENTENCE = "This sentence was not here before and says that an editor came by to add a remark. "
SENTENCE_END = re.compile(r"[.]\s+(?=[A-Z])")


class Remembered(Tokenizer):
    """Answers from memory, so that a chunker is measured without its tokenizer."""

    revision: ClassVar[int] = 1

    def __init__(self, tokenizer: Tokenizer, texts: list[str]) -> None:
        self._offsets = {text: tokenizer.offsets(text) for text in texts}

    def offsets(self, text: str) -> TokenOffsets:
        """Give what the tokenizer said."""
        return self._offsets[text]


def read_documents(paths: list[str]) -> list[str]:
    """Make 100 documents of about 100 chunks out of files, or of shuffled reference topics."""
    if paths:
        texts = [Path(path).read_text(encoding="utf-8", errors="ignore") for path in paths]
        cuts = range(0, 10 * DOCUMENT_CHARACTERS, DOCUMENT_CHARACTERS)
        parts = [text[at : at + DOCUMENT_CHARACTERS] for text in texts for at in cuts]
        return [part for part in parts if len(part) > DOCUMENT_CHARACTERS // 2][:100]
    documents: list[str] = []
    for seed in range(100):
        names = sorted(topics.topics)
        np.random.default_rng(seed).shuffle(names)
        documents.append("\n\n".join(topics.topics[name] for name in names)[:DOCUMENT_CHARACTERS])
    return documents


def chunks_of(chunker: Chunker, text: str) -> Counter[str]:
    spans = chunker.chunk(Section(text=text, start=0))
    bounds = zip(spans.starts.tolist(), spans.ends.tolist(), strict=True)
    return Counter(text[start:end] for start, end in bounds)


def megabytes_per_cpu_second(chunker: Chunker, documents: list[str]) -> float:
    started = time.process_time()
    for document in documents:
        chunker.chunk(Section(text=document, start=0))
    size = sum(len(document.encode()) for document in documents)
    return size / 1e6 / (time.process_time() - started)


def changed_by_a_sentence(chunker: Chunker, documents: list[str]) -> dict[str, object]:
    embedded: list[int] = []
    records: list[int] = []
    for document in documents:
        before = chunks_of(chunker, document)
        ends = [match.end() for match in SENTENCE_END.finditer(document)] or [0]
        for at in (0, ends[len(ends) // 2], ends[-1]):
            after = chunks_of(chunker, document[:at] + SENTENCE + document[at:])
            embedded.append((after - before).total())
            records.append((after - before).total() + (before - after).total())
    return {
        "embedded": dict(zip(("p50", "p95", "max"), _percentiles(embedded), strict=True)),
        "records": dict(zip(("p50", "p95", "max"), _percentiles(records), strict=True)),
    }


def fill(chunker: Chunker, documents: list[str], size: int) -> float:
    counts: list[Spans] = [chunker.chunk(Section(text=text, start=0)) for text in documents]
    return float(np.concatenate([spans.tokens for spans in counts]).mean() / size)


def _percentiles(values: list[int]) -> list[float]:
    return [round(float(value), 2) for value in np.percentile(values, (50, 95, 100))]


def main(paths: list[str]) -> None:
    documents = read_documents(paths)
    few = documents[:20]
    for tokenizer in (WordTokenizer(), MiniLmTokenizer()):
        remembered = Remembered(tokenizer, documents)
        for chunker, size, overlap in (
            (DefaultChunker, 254, 31),
            (DefaultChunker, 512, 64),
            (TokenChunker, 254, 31),
            (TokenChunker, 512, 128),
        ):
            chunking = Chunking(chunker=chunker.__name__, size=size, overlap=overlap)
            row: dict[str, object] = {
                "chunker": f"{chunker.__name__} {size}/{overlap}",
                "tokenizer": type(tokenizer).__name__,
                "mb_per_cpu_s": round(
                    megabytes_per_cpu_second(chunker(tokenizer, chunking), few), 2
                ),
                "without_tokenizer": round(
                    megabytes_per_cpu_second(chunker(remembered, chunking), documents), 1
                ),
                "fill": round(fill(chunker(remembered, chunking), documents, size), 3),
            }
            if chunker is DefaultChunker and size == 254:
                row |= changed_by_a_sentence(chunker(tokenizer, chunking), documents)
            print(json.dumps(row))


if __name__ == "__main__":
    main(sys.argv[1:])
