"""The chunkers, beside those of others: text cut per CPU second, and how full the chunks are."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import corpus
from benchmarks.chunkers.inside import CHUNKERS as OTHERS
from benchmarks.measuring import Goal, Options, Result, Row, middle
from benchmarks.peers.environment import Installed, PeersMissing, install, last_words
from benchmarks.watching import progress
from vectorflow import plugins
from vectorflow.adapters._openai_bpe import ranks
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Chunker
from vectorflow.ports.tokenizer import Tokenizer

HERE = Path(__file__).parent
SIZE, OVERLAP = 512, 128
VOCABULARY = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"
"""Under the hash of this name tiktoken looks for a vocabulary before it would fetch one."""

OURS = (
    ("tokens", "cl100k"),
    ("recursive", "cl100k"),
    ("markdown", "cl100k"),
    ("sentences", "cl100k"),
    ("default", "cl100k"),
    ("lines", "cl100k"),
    ("tokens", "minilm"),
    ("recursive", "minilm"),
    ("default", "minilm"),
)

GOALS: Mapping[tuple[str, str], float] = {
    ("tokens", "cl100k"): 60,
    ("tokens", "minilm"): 15,
    ("recursive", "cl100k"): 10,
    ("markdown", "cl100k"): 10,
    ("sentences", "cl100k"): 10,
}
"""Megabytes per CPU second, at least."""


@dataclass(slots=True)
class _Measured:
    """What one chunker did, round by round; why, where it did nothing."""

    cpu_seconds: list[float] = field(default_factory=list[float])
    chunks: int = 0
    fill: float | None = None
    """Mean tokens of a chunk as a share of its size; of others nothing is counted."""
    failed: str = ""

    def speed(self, megabytes: float) -> float:
        return middle([megabytes / seconds for seconds in self.cpu_seconds], 1)


def measure(options: Options) -> Result:
    """Cut the same files with all of them, in turns."""
    size, rounds = (200_000, 1) if options.quick else (1_000_000, 5)
    files = corpus.files(size, options.data / "corpus")
    texts = [path.read_text(encoding="utf-8") for path in files.paths]
    found = _measure_ours(texts, rounds) | _measure_others(files.folder, rounds, options.data)
    megabytes = files.bytes / 1e6
    goals = [
        Goal(
            what=f"{_name(*one)}: MB per CPU second",
            value=found[_name(*one)].speed(megabytes),
            at_least=least,
        )
        for one, least in GOALS.items()
    ]
    return Result(
        table=_table(found, megabytes),
        figures={name: _figures(one, megabytes) for name, one in found.items()},
        goals=goals,
        summary=_summary(found, megabytes),
        notes=[
            str(files),
            f"chunks of {SIZE} tokens, overlap {OVERLAP}; {rounds} rounds, the median",
            "ours give exact offsets and the tokens of each chunk; others what they give",
        ],
    )


def _measure_ours(texts: Sequence[str], rounds: int) -> dict[str, _Measured]:
    found = {_name(*one): _Measured() for one in OURS}
    chunkers = {_name(*one): _chunker(*one) for one in OURS}
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        for name, chunker in chunkers.items():
            sections = [Section(text=text, start=0) for text in texts]
            started = time.process_time()
            spans = [chunker.chunk(section) for section in sections]
            found[name].cpu_seconds.append(time.process_time() - started)
            tokens = np.concatenate([one.tokens for one in spans])
            found[name].chunks, found[name].fill = len(tokens), float(tokens.mean() / SIZE)
    return found


def _measure_others(folder: Path, rounds: int, scratch: Path) -> dict[str, _Measured]:
    try:
        installed = install(HERE / "requirements.txt", scratch)
    except PeersMissing as error:
        return {name: _Measured(failed=f"not installed: {error}") for name in OTHERS}
    cache = scratch / "tiktoken"
    cache.mkdir()
    key = hashlib.sha1(VOCABULARY.encode(), usedforsecurity=False).hexdigest()
    (cache / key).write_bytes(ranks("cl100k"))
    return {name: _measure_other(name, installed, folder, rounds, cache) for name in OTHERS}


def _measure_other(
    name: str, installed: Installed, folder: Path, rounds: int, cache: Path
) -> _Measured:
    progress(name)
    arguments = (name, folder, str(SIZE), str(OVERLAP), str(rounds))
    done = installed.run(HERE / "inside.py", *arguments, TIKTOKEN_CACHE_DIR=str(cache))
    if done.returncode != 0:
        return _Measured(failed=last_words(done))
    said = json.loads(done.stdout.splitlines()[-1])
    return _Measured(cpu_seconds=[said["cpu_seconds"]], chunks=said["chunks"])


def _chunker(name: str, tokenizer: str) -> Chunker:
    counts: Tokenizer = plugins.load("tokenizers", tokenizer)()
    make: Callable[[Tokenizer, Chunking], Chunker] = plugins.load("chunkers", name)
    return make(counts, Chunking(chunker=name, size=SIZE, overlap=OVERLAP))


def _name(chunker: str, tokenizer: str) -> str:
    return f"{chunker} ({tokenizer})"


def _table(found: Mapping[str, _Measured], megabytes: float) -> list[Row]:
    return [
        ("chunker", "chunks", "fill", "MB per CPU s"),
        *(_row(name, one, megabytes) for name, one in found.items()),
    ]


def _row(name: str, one: _Measured, megabytes: float) -> Row:
    if one.failed:
        return (f"{name}: {one.failed}", "-", "-", "-")
    fill = "-" if one.fill is None else f"{one.fill:.0%}"
    return (name, f"{one.chunks:,}", fill, f"{one.speed(megabytes):,.1f}")


def _figures(one: _Measured, megabytes: float) -> Mapping[str, object]:
    if one.failed:
        return {"failed": one.failed}
    speed = one.speed(megabytes)
    return {"mb_per_cpu_second": speed, "chunks": one.chunks, "fill": one.fill}


def _summary(found: Mapping[str, _Measured], megabytes: float) -> str:
    ours = found[_name("recursive", "cl100k")].speed(megabytes)
    others = [found[name].speed(megabytes) for name in OTHERS if not found[name].failed]
    beside = f"the fastest of {len(others)} others {max(others):.1f}" if others else "no other ran"
    tokens = found[_name("tokens", "cl100k")].speed(megabytes)
    return f"chunkers: windows {tokens:.1f}, recursive {ours:.1f} MB per CPU second; {beside}"
