"""What all benchmarks share: CPU time, child processes, goals, and how results are shown."""

import json
import math
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a benchmark was asked for."""

    data: Path
    """Scratch folder of its own, empty."""
    quick: bool
    """Less work, to see that all is well; its figures are no figures."""
    documents: int | None = None
    """Of a flood; None leaves it to the benchmark."""
    database: str | None = None
    """The only database to measure, where there are several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A figure beside what it has to be."""

    what: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        """Tell whether the figure is on the right side."""
        enough = self.at_least is None or self.value >= self.at_least
        return enough and (self.at_most is None or self.value <= self.at_most)

    @property
    def goal(self) -> str:
        """The bound, as people write it."""
        return f"<= {self.at_most:,}" if self.at_least is None else f">= {self.at_least:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a benchmark found."""

    table: Sequence[Row]
    """The first row names the columns."""
    figures: Mapping[str, object]
    goals: Sequence[Goal]
    summary: str
    """One line that says it all."""
    notes: Sequence[str] = field(default_factory=tuple)


def show(result: Result) -> None:
    """Print a result for people."""
    print(machine())
    for note in result.notes:
        print(note)
    print()
    _print_table(result.table)
    print()
    goals = [(g.what, f"{g.value:,}", g.goal, "met" if g.met else "MISSED") for g in result.goals]
    _print_table([("goal", "figure", "must be", ""), *goals])
    print()
    print(result.summary)


def write(result: Result, name: str, options: Options, path: Path) -> None:
    """Write a result for machines."""
    goals = [{"what": g.what, "value": g.value, "goal": g.goal, "met": g.met} for g in result.goals]
    content = {
        "benchmark": name,
        "machine": machine(),
        "quick": options.quick,
        "notes": list(result.notes),
        "figures": dict(result.figures),
        "goals": goals,
        "summary": result.summary,
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> str:
    """Describe this machine: CPU model, usable cores, memory, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = platform.python_version()
    return f"{_cpu_model()}, {usable_cores()} cores, {memory:.0f} GiB memory, Python {python}"


def usable_cores() -> int:
    """Count the cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_seconds() -> float:
    """Count user and system time of this process and its ended children so far."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_megabytes() -> float:
    """Give the most memory this process has had resident."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def child(*arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
    """Start `benchmarks.children` in a process of its own; its answer is a line of JSON."""
    command = [sys.executable, "-m", "benchmarks.children", *map(str, arguments)]
    env = environment(**variables)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)  # noqa: S603


def answer(*arguments: str | Path) -> dict[str, float]:
    """Run a child to its end and give its answer."""
    return answer_of(child(*arguments))


def answer_of(process: "subprocess.Popen[str]") -> dict[str, float]:
    """Wait for a child and give its answer.

    Raises:
        RuntimeError: It failed.
    """
    out, _ = process.communicate()
    if process.returncode != 0:
        message = f"a child of the benchmark ended with {process.returncode}"
        raise RuntimeError(message)
    said: dict[str, float] = json.loads(out.splitlines()[-1])
    return said


def environment(**more: str) -> dict[str, str]:
    """Give the environment of a child: bytecode is written as usual, and only errors are logged."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"VECTORFLOW_LOG__LEVEL": "error"} | more


def p95(values: Sequence[float]) -> float:
    """Give the value that 95 % do not exceed."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def middle(values: Sequence[float], digits: int = 3) -> float:
    """Give the median, rounded."""
    return round(median(values), digits)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _print_table(rows: Sequence[Row]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *others = row
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join(cells).rstrip())
