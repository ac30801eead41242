"""How long commands take from a cold process."""

import os
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path

import vectorflow
from benchmarks import corpus
from benchmarks.commands import Ran, run
from benchmarks.measuring import Goal, Options, Result, Row, middle

FILE_BYTES = 2_000
QUESTION = "how is an attribute looked up?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a command took, as medians; each run is a new process."""

    name: str
    seconds: float
    """With the program's files in memory, as in all runs but the first after a boot."""
    cpu_seconds: float
    cold_seconds: float
    """With the program's files read from disk."""


def measure(options: Options) -> Result:
    """Run each command several times, with its files in memory and without."""
    file = corpus.files(FILE_BYTES, options.data / "file").paths[0]
    numbers = count()
    there = "--data-dir", options.data / "known"
    run("embed", file, *there)

    def new_index() -> Ran:
        return run("embed", file, "--data-dir", options.data / f"new-{next(numbers)}")

    timed = partial(_timed, runs=3 if options.quick else 9)
    starts = [
        timed("vectorflow --help", partial(run, "--help")),
        timed("vectorflow embed FILE, new data directory", new_index),
        timed("vectorflow embed FILE, unchanged", partial(run, "embed", file, *there)),
        timed("vectorflow search", partial(run, "search", QUESTION, *there)),
    ]
    return Result(
        table=_table(starts),
        figures={one.name: asdict(one) for one in starts},
        goals=[
            Goal(what="vectorflow --help, s", value=starts[0].seconds, at_most=0.3),
            Goal(what="vectorflow embed FILE, s", value=starts[1].seconds, at_most=3),
        ],
        summary=(
            f"start: help after {starts[0].seconds:.2f} s, one small file embedded after"
            f" {starts[1].seconds:.1f} s, searched after {starts[3].seconds:.1f} s"
        ),
        notes=[
            f"a file of {FILE_BYTES:,} bytes; the default model; bytecode compiled by a first run"
        ],
    )


def _timed(name: str, command: Callable[[], Ran], *, runs: int) -> Start:
    command()
    warm = [command() for _ in range(runs)]
    cold: list[float] = []
    for _ in range(max(3, runs // 3)):
        _forget_files([Path(sysconfig.get_path("purelib")), Path(vectorflow.__file__).parent])
        cold.append(command().seconds)
    return Start(
        name=name,
        seconds=middle([ran.seconds for ran in warm]),
        cpu_seconds=middle([ran.cpu_seconds for ran in warm]),
        cold_seconds=middle(cold),
    )


def _forget_files(folders: Sequence[Path]) -> None:
    """Ask the system to read these files from disk next time; where it cannot, nothing happens."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        file = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def _table(starts: Sequence[Start]) -> list[Row]:
    rows = [
        (one.name, f"{one.seconds:.2f}", f"{one.cpu_seconds:.2f}", f"{one.cold_seconds:.2f}")
        for one in starts
    ]
    return [("command", "s", "CPU s", "s, files from disk"), *rows]
