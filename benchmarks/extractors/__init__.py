"""The extractors, beside the libraries of others: CPU time and how much text comes out, by type."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.extractors.inside import LIBRARIES, OURS, Read
from benchmarks.extractors.inside import vectorflow as ours_for
from benchmarks.measuring import Goal, Options, Result, Row, middle
from benchmarks.peers.environment import Installed, PeersMissing, install, last_words
from benchmarks.watching import progress
from vectorflow.errors import DocumentFailed

HERE = Path(__file__).parent
FILES = HERE.parents[1] / "tests" / "files"
AT_MOST = 1.2
"""What ours may take, of what the fastest does that gives as much."""
SHARE = 0.85
"""Of our letters and digits a library has to give, or it leaves text out and is no goal."""


@dataclass(slots=True)
class _Measured:
    """What one library did with the files of a type, round by round; why, where it did nothing."""

    cpu_seconds: list[float] = field(default_factory=list[float])
    """For all files once."""
    files: int = 0
    letters: int = 0
    failed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Type:
    """Files of a type, and what libraries did with them."""

    name: str
    files: list[Path]
    found: dict[str, _Measured]

    @property
    def megabytes(self) -> float:
        return sum(path.stat().st_size for path in self.files) / 1e6

    def times(self, library: str) -> float | None:
        """How many times what the library takes ours does: median of pairs."""
        theirs = self.found[library].cpu_seconds
        if not theirs:
            return None
        pairs = zip(self.found[OURS].cpu_seconds, theirs, strict=True)
        return middle([ours / other for ours, other in pairs], 2)

    def fastest(self) -> str | None:
        """Name the fastest of those that read all files and give their text and structure."""
        ours = self.found[OURS]
        equal = [
            name
            for name, library in LIBRARIES[self.name].items()
            if library.structure
            and self.found[name].files == ours.files
            and self.found[name].letters >= SHARE * ours.letters
        ]
        return min(equal, key=lambda name: middle(self.found[name].cpu_seconds, 9), default=None)


def measure(options: Options) -> Result:
    """Read the files of each type with all libraries, in turns."""
    seconds, rounds = ("0.02", 1) if options.quick else ("0.5", 3)
    try:
        others = install(HERE / "requirements.txt", options.data)
    except PeersMissing as error:
        return _nothing(f"not installed: {error}")
    types = [_prepared(name) for name in LIBRARIES]
    for number in range(rounds):
        for one in types:
            progress(f"round {number + 1} of {rounds}: {one.name}")
            _round(one, seconds, others)
    goals = list(_goals(types))
    return Result(
        table=_table(types),
        figures={one.name: _figures(one) for one in types},
        goals=goals,
        summary=_summary(goals),
        notes=[
            f"{sum(len(one.files) for one in types)} files of tests/files; {rounds} rounds",
            "letters: letters and digits of the text, without what only lays it out",
            "flat: gives text without headings, rows or pages, which is less, and no goal",
        ],
    )


def _prepared(name: str) -> _Type:
    """Leave out files that nobody can read: encrypted ones, and those without text."""
    read = ours_for(name)
    files = [path for path in sorted((FILES / name).iterdir()) if _is_readable(read, path)]
    libraries = (OURS, *LIBRARIES[name])
    return _Type(name=name, files=files, found={one: _Measured() for one in libraries})


def _is_readable(read: Read, path: Path) -> bool:
    try:
        return bool(read(path.read_bytes()).strip())
    except DocumentFailed:
        return False


def _round(one: _Type, seconds: str, others: Installed) -> None:
    here = Installed(folder=Path(sys.prefix), python=Path(sys.executable))
    for library, measured in one.found.items():
        if measured.failed:
            continue
        installed = here if library == OURS else others
        done = installed.run(HERE / "inside.py", one.name, library, seconds, *one.files)
        if done.returncode != 0:
            measured.failed = last_words(done)
            measured.cpu_seconds.clear()
            continue
        said = json.loads(done.stdout.splitlines()[-1])
        measured.files, measured.letters = said["files"], said["letters"]
        if measured.files:
            measured.cpu_seconds.append(said["cpu_seconds"])
        else:
            measured.failed = f"reads none: {last_words(done)}"


def _goals(types: list[_Type]) -> Iterator[Goal]:
    for one in types:
        fastest = one.fastest()
        if fastest and (times := one.times(fastest)):
            yield Goal(
                what=f"{one.name}: CPU, times that of {fastest}", value=times, at_most=AT_MOST
            )


def _table(types: list[_Type]) -> list[Row]:
    header = ("type", "library", "files", "letters", "ms a file", "s per MB", "ours takes", "")
    return [header, *(_row(one, library) for one in types for library in one.found)]


def _row(one: _Type, library: str) -> Row:
    measured = one.found[library]
    if measured.failed:
        return (one.name, f"{library}: {measured.failed}", *["-"] * 6)
    seconds = middle(measured.cpu_seconds, 9)
    return (
        one.name,
        library,
        f"{measured.files}/{len(one.files)}",
        f"{measured.letters:,}",
        f"{1e3 * seconds / measured.files:.2f}",
        f"{seconds / one.megabytes:.3f}",
        f"{one.times(library)}x",
        "" if library == OURS or LIBRARIES[one.name][library].structure else "flat",
    )


def _figures(one: _Type) -> Mapping[str, object]:
    return {
        library: {"failed": measured.failed}
        if measured.failed
        else {
            "files": measured.files,
            "letters": measured.letters,
            "cpu_seconds": middle(measured.cpu_seconds, 6),
            "ours_times": one.times(library),
        }
        for library, measured in one.found.items()
    }


def _summary(goals: list[Goal]) -> str:
    missed = [goal.what.partition(":")[0] for goal in goals if not goal.met]
    behind = f"; behind in {', '.join(missed)}" if missed else ""
    return (
        f"extractors: within {AT_MOST} times the fastest equal in "
        f"{len(goals) - len(missed)} of {len(goals)} types{behind}"
    )


def _nothing(why: str) -> Result:
    """Without the others there is no goal; to say that all is met would be wrong."""
    goal = Goal(what="types compared", value=0, at_least=len(LIBRARIES))
    return Result(
        table=[("extractors", ""), ("others", why)],
        figures={"failed": why},
        goals=[goal],
        summary=f"extractors: not compared; {why}",
    )
