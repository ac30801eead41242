"""Files to stored vectors with a provider over the network: cost of a chunk, effect of latency."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks import corpus
from benchmarks.measuring import Goal, Options, Result, Row, answer_of, child, middle
from benchmarks.provider import Provider, provider
from benchmarks.watching import progress

SMALL, LARGE = 5_000_000, 50_000_000
LATENCIES = (0.1, 0.2, 0.5)
COPIES = "copy"

Run = dict[str, float]


def measure(options: Options) -> Result:
    """Run a small and a large folder in turns without latency, then the small one with it."""
    small, large, pairs = (1_000_000, 4_000_000, 1) if options.quick else (SMALL, LARGE, 3)
    folders = [_text(small, options.data / "small"), _text(large, options.data / "large")]
    runs: list[tuple[Run, Run]] = []
    with provider(0.0) as here:
        for pair in range(pairs):
            few, many = [_run(here, folder, options.data / f"{pair}") for folder in folders]
            runs.append((few, many))
    walls = {0.0: middle([few["seconds"] for few, _ in runs])}
    for latency in LATENCIES:
        with provider(latency) as there:
            times = [_run(there, folders[0], options.data / "late") for _ in range(pairs)]
        walls[latency] = middle([run["seconds"] for run in times])
    figures = _figures(runs, walls)
    return Result(
        table=_table(runs),
        figures=figures,
        goals=_goals(figures, walls),
        summary=(
            f"api: {figures['us_per_chunk']} us CPU for each further chunk of"
            f" {figures['bytes_per_chunk']} bytes, {figures['startup_cpu_seconds']} s to start;"
            f" {walls[0.5]} s with 500 ms latency beside {walls[0.0]} s with none"
        ),
        notes=[
            "text-embedding-3-small (1,536 dimensions) of a fake provider in another process",
            f"windows of 512 tokens, overlap 64; LanceDB, durable; {pairs} pairs of runs",
            *_stage_notes(runs),
        ],
    )


def _text(size: int, folder: Path) -> Path:
    """Write text; where the machine has too little, documents come again with another beginning."""
    found = corpus.files(min(size, SMALL * 4), folder / "0")
    have = sum(path.stat().st_size for path in found.folder.rglob("*") if path.is_file())
    for copy in range(1, -(-size // max(have, 1))):
        for path in found.folder.rglob("*"):
            if path.is_file():
                place = folder / str(copy) / path.relative_to(found.folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                words = path.read_text("utf-8").split(" ")
                mark = f"{COPIES}{copy} "
                place.write_text(mark + f" {mark}".join(_slices(words)), "utf-8")
    return folder


def _slices(words: Sequence[str]) -> list[str]:
    """Some 40 words each, so that no chunk of a copy equals one of another."""
    return [" ".join(words[at : at + 40]) for at in range(0, len(words), 40)]


def _run(provider: Provider, folder: Path, data: Path) -> Run:
    progress(f"embedding {folder.name}")
    process = child("paid", folder, data / f"{folder.name}-data", **provider.variables)
    run = answer_of(process)
    if run["failed"]:
        message = f"{run['failed']} documents failed"
        raise RuntimeError(message)
    return run


def _figures(runs: Sequence[tuple[Run, Run]], walls: dict[float, float]) -> dict[str, object]:
    marginal = [
        (many["cpu_seconds"] - few["cpu_seconds"]) / (many["chunks"] - few["chunks"]) * 1e6
        for few, many in runs
    ]
    _, many = runs[0]
    stages = sorted(key for key in many if key.startswith("stage "))
    return {
        "chunks": many["chunks"],
        "bytes_per_chunk": round(many["bytes"] / many["chunks"]),
        "us_per_chunk": middle(marginal, 1),
        "startup_cpu_seconds": middle([few["startup_cpu_seconds"] for few, _ in runs], 2),
        "us_per_chunk_by_stage": {
            key.removeprefix("stage "): middle(
                [
                    (more[key] - less[key]) / (more["chunks"] - less["chunks"]) * 1e6
                    for less, more in runs
                ],
                1,
            )
            for key in stages
        },
        "calls": many["calls"],
        "megabytes": middle([more["megabytes"] for _, more in runs], 0),
        "seconds_by_latency": walls,
    }


def _goals(figures: dict[str, object], walls: dict[float, float]) -> list[Goal]:
    spent = figures["us_per_chunk"]
    assert isinstance(spent, float)  # noqa: S101 - `middle` gives floats
    goals = [Goal(what="us CPU for each further chunk", value=spent, at_most=50)]
    return goals + [
        Goal(
            what=f"seconds with {latency * 1000:.0f} ms latency",
            value=walls[latency],
            at_most=round(walls[0.0] + 3 * latency, 3),
        )
        for latency in LATENCIES
    ]


def _stage_notes(runs: Sequence[tuple[Run, Run]]) -> list[str]:
    stages = _figures(runs, {})["us_per_chunk_by_stage"]
    assert isinstance(stages, dict)  # noqa: S101 - it was made so
    parts = sorted(stages.items(), key=lambda item: -item[1])
    return ["us CPU of a chunk by stage: " + ", ".join(f"{name} {us}" for name, us in parts)]


def _table(runs: Sequence[tuple[Run, Run]]) -> list[Row]:
    rows: list[Row] = [("run", "chunks", "calls", "CPU s", "wall s", "peak MB")]
    for number, pair in enumerate(runs, start=1):
        for name, run in zip(("small", "large"), pair, strict=True):
            rows.append(
                (
                    f"{number} {name}",
                    f"{run['chunks']:,}",
                    f"{run['calls']:,}",
                    f"{run['cpu_seconds']:.2f}",
                    f"{run['seconds']:.2f}",
                    f"{run['megabytes']:.0f}",
                )
            )
    return rows
