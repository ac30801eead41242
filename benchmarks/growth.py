"""Whether a store that holds many records takes new ones as fast as a small one."""

import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import vectorflow as vf
from benchmarks.databases import LEDGERS, NAMES
from benchmarks.measuring import Goal, Options, Result, cpu_seconds, middle
from benchmarks.watching import progress
from vectorflow.flow import Flow
from vectorflow.settings import load

EMBEDDER = "hash:384"
"""Costs next to nothing, so that what is seen is the store and VectorFlow."""

CHUNK_TOKENS = 64
DOCUMENT_CHUNKS = 100
ADDED_DOCUMENTS = 20
"""In each round, to each store."""
ROUNDS = 5

PARAGRAPHS = 2 * DOCUMENT_CHUNKS
PARAGRAPH_WORDS = 24
"""Two of them are a chunk."""

STORES = {"sqlite": "LanceDB", "postgres": "pgvector", "mariadb": "LanceDB"}

WORDS = [f"word{number}" for number in range(5_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Runs into a store that holds so many records at first."""

    records: int
    chunks_per_second: float
    chunks_per_cpu_second: float


def measure(options: Options) -> Result:
    """Fill two stores, one of them much more, and add to both in turns."""
    kind = options.database or "sqlite"
    sizes = (1_000, 5_000) if options.quick else (2_000, 200_000)
    with ExitStack() as stack:
        stores = [_Store(_opened(stack, kind, options.data / str(size))) for size in sizes]
        for store, size in zip(stores, sizes, strict=True):
            store.fill(size)
        for number in range(ROUNDS):
            progress(f"round {number + 1} of {ROUNDS}")
            for store in stores:
                store.add()
    few, many = (store.held for store in stores)
    pairs = zip(stores[0].rates, stores[1].rates, strict=True)
    share = middle([more / less for less, more in pairs])
    goal = f"rate at {many.records:,} records, of that at {few.records:,}"
    said = f"growth: {share:.0%} of the chunks a second, with {many.records:,} records"
    return Result(
        table=[
            ("records", f"{few.records:,}", f"{many.records:,}"),
            _row("chunks a second", few.chunks_per_second, many.chunks_per_second),
            _row("chunks a CPU second", few.chunks_per_cpu_second, many.chunks_per_cpu_second),
        ],
        figures={"database": kind, "few": asdict(few), "many": asdict(many), "share": share},
        goals=[Goal(what=goal, value=share, at_least=0.9)],
        summary=f"{said} where a store of {few.records:,} stands at 100 %",
        notes=[
            f"{STORES[kind]}, ledger in {NAMES[kind]}, {EMBEDDER}",
            f"in turns, {ROUNDS} times; medians, of pairs for the goal",
            f"added each time: {ADDED_DOCUMENTS} documents of some {DOCUMENT_CHUNKS} chunks",
        ],
    )


class _Store:
    """A data directory that grows."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._chance = random.Random(7)  # noqa: S311 - the same texts each time
        self._documents = 0
        self._records = 0
        self.rates: list[float] = []
        """Chunks per second of each round."""
        self._cpu_rates: list[float] = []

    def fill(self, records: int) -> None:
        """Bring it to so many records, some hundred documents at a time."""
        while (left := records - self._records) > 0:
            progress(f"{self._records:,} of {records:,} records")
            documents = min(200, -(-left // DOCUMENT_CHUNKS))
            self._records += self._flow.embed(self._new(documents)).records_new

    def add(self) -> None:
        """Add some documents, and see how fast."""
        used = cpu_seconds()
        report = self._flow.embed(self._new(ADDED_DOCUMENTS))
        added = report.records_new
        self.rates.append(added / report.seconds)
        self._cpu_rates.append(added / (cpu_seconds() - used))

    @property
    def held(self) -> Held:
        """What was seen."""
        return Held(
            records=self._records,
            chunks_per_second=round(median(self.rates)),
            chunks_per_cpu_second=round(median(self._cpu_rates)),
        )

    def _new(self, count: int) -> Iterator[Mapping[str, str]]:
        for _ in range(count):
            self._documents += 1
            yield {"id": f"document {self._documents}", "text": self._text()}

    def _text(self) -> str:
        choose = partial(self._chance.choices, WORDS, k=PARAGRAPH_WORDS)
        return "\n\n".join(" ".join(choose()) for _ in range(PARAGRAPHS))


def _opened(stack: ExitStack, kind: str, folder: Path) -> Flow:
    """Open a data directory with a ledger of its own; on PostgreSQL that keeps the records too."""
    folder.mkdir()
    url = stack.enter_context(LEDGERS[kind](folder / kind))
    options = {
        "data_dir": folder / "data",
        "database.url": url,
        "embedder": EMBEDDER,
        "chunking.size": CHUNK_TOKENS,
    }
    store = {"store": url} if kind == "postgres" else {}
    return stack.enter_context(vf.open(load(options | store, environ={})))


def _row(what: str, few: float, many: float) -> tuple[str, str, str]:
    return what, f"{few:,.0f}", f"{many:,.0f}"
