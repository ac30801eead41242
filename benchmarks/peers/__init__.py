"""The same files through other pipelines: tokens embedded and stored per CPU second."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import corpus
from benchmarks.measuring import Goal, Options, Result, Row, answer, middle
from benchmarks.peers.environment import Environment, PeersMissing, last_words, prepare
from benchmarks.watching import progress

POPULAR = ("sentence-transformers", "langchain", "llama-index", "haystack")
FRAMEWORKS = (*POPULAR, "chroma", "cocoindex")
TUNED = "sentence-transformers, bf16"
"""One option away from the first; what frameworks on top of it could reach at best."""
PEERS = (*FRAMEWORKS, TUNED)
OURS = "vectorflow"

Run = dict[str, float]


class _Runs:
    """What every pipeline did, round by round; why, where one did nothing."""

    def __init__(self) -> None:
        self.done: dict[str, list[Run]] = {}
        self.failed: dict[str, str] = {}

    def speeds(self, name: str) -> list[float]:
        return [run["tokens"] / run["cpu_seconds"] for run in self.done.get(name, [])]

    def times(self, name: str) -> float | None:
        """How many times faster ours is, as the median of rounds; None where the other failed."""
        if name in self.failed or not self.done.get(name):
            return None
        pairs = zip(self.speeds(OURS), self.speeds(name), strict=True)
        return middle([ours / theirs for ours, theirs in pairs], 2)


def measure(options: Options) -> Result:
    """Run all in turns, each in a process of its own with a new store."""
    size, rounds = (60_000, 1) if options.quick else (300_000, 3)
    texts = corpus.files(size, options.data / "corpus")
    runs = _Runs()
    try:
        environment = prepare(options.data)
    except PeersMissing as error:
        runs.failed |= dict.fromkeys(PEERS, f"not installed: {error}")
    else:
        for number in range(rounds):
            _round(runs, environment, texts.folder, options.data / f"round-{number}")
    return Result(
        table=_table(runs),
        figures={name: _figures(runs, name) for name in (OURS, *PEERS)},
        goals=_goals(runs),
        summary=_summary(runs),
        notes=[
            str(texts),
            f"model: all-MiniLM-L6-v2, float32 for peers; chunks of 254 tokens; {rounds} rounds",
            "tokens: those that the model read; the clock starts with the model loaded",
            f"{TUNED}: bf16 set by hand, which the goals leave out",
        ],
    )


def _round(runs: _Runs, environment: Environment, folder: Path, scratch: Path) -> None:
    for name in PEERS:
        if name not in runs.failed:
            _run_peer(runs, name, environment, (folder, scratch / name))
    progress(OURS)
    runs.done.setdefault(OURS, []).append(answer("product", folder, scratch / OURS))


def _run_peer(runs: _Runs, name: str, environment: Environment, folders: tuple[Path, Path]) -> None:
    progress(name)
    folder, scratch = folders
    scratch.mkdir(parents=True)
    done = environment.run(name, environment.model, folder, scratch)
    if done.returncode != 0:
        runs.failed[name] = last_words(done)
        progress(f"{name} failed: {runs.failed[name]}")
        return
    run: Run = json.loads(done.stdout.splitlines()[-1])
    runs.done.setdefault(name, []).append(run)


def _figures(runs: _Runs, name: str) -> Mapping[str, object]:
    if name in runs.failed:
        return {"failed": runs.failed[name]}
    done = runs.done[name]
    return {
        "tokens_per_cpu_second": middle(runs.speeds(name), 0),
        "chunks": done[0]["chunks"],
        "tokens": done[0]["tokens"],
        "truncated": done[0].get("truncated", 0),
        "seconds": middle([run["seconds"] for run in done], 2),
        "megabytes": middle([run["megabytes"] for run in done], 0),
        "times_faster": runs.times(name),
    }


def _goals(runs: _Runs) -> list[Goal]:
    return [
        Goal(what="times the fastest framework", value=_least(runs, FRAMEWORKS), at_least=2.5),
        Goal(what="times the popular ones", value=_least(runs, POPULAR), at_least=4),
    ]


def _least(runs: _Runs, names: Sequence[str]) -> float:
    """Compare with the fastest of several; 0 where none of them ran."""
    return min((times for name in names if (times := runs.times(name)) is not None), default=0.0)


def _table(runs: _Runs) -> list[Row]:
    head = ("pipeline", "chunks", "cut off", "CPU s", "tokens per CPU s", "peak MB", "ours is")
    return [head, *(_row(runs, name) for name in (OURS, *PEERS))]


def _row(runs: _Runs, name: str) -> Row:
    if name in runs.failed:
        return (f"{name}: {runs.failed[name]}", "-", "-", "-", "-", "-", "-")
    done = runs.done[name]
    return (
        name,
        f"{done[0]['chunks']:,}",
        f"{done[0].get('truncated', 0):,}",
        f"{middle([run['cpu_seconds'] for run in done], 1):,}",
        f"{middle(runs.speeds(name), 0):,.0f}",
        f"{middle([run['megabytes'] for run in done], 0):,.0f}",
        f"{runs.times(name):.2f}x",
    )


def _summary(runs: _Runs) -> str:
    tuned = runs.times(TUNED)
    beside = f", {tuned} times {TUNED}" if tuned else ""
    gaps = f"; {len(runs.failed)} of {len(PEERS)} peers did not run" if runs.failed else ""
    return (
        f"peers: {_least(runs, FRAMEWORKS)} times the fastest framework and"
        f" {_least(runs, POPULAR)} times the popular ones{beside}{gaps}"
    )
