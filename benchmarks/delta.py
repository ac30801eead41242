"""What a second run does: nothing changed, 1 % changed and 1 % deleted, one sentence inserted."""

import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import vectorflow as vf
from benchmarks import commands, corpus, stored
from benchmarks.commands import Ran
from benchmarks.corpus import Corpus
from benchmarks.measuring import Goal, Options, Result, Row, p95
from vectorflow.flow import Flow, Progress, Report

EMBEDDER = "hash:384"
"""Costs next to nothing, so that what is seen is VectorFlow."""

CHUNK_TOKENS = 254
"""What the local model gets by default."""
FILE_CHARACTERS = 4_000
DOCUMENT_CHARACTERS = 56_000
"""Of about 100 chunks of so many tokens."""

PLACES = ("start", "middle", "end")
SENTENCE = "This sentence was not here before; an editor came by as number {} to add a remark. "
SENTENCE_END = re.compile(r"[.]\s+(?=[A-Z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """A run over files that are all known."""

    files: int
    files_per_second: float
    """Listing, reading, hashing and asking the ledger: until the last file was looked at."""
    seconds: float
    """Of `Flow.embed`, in an open flow."""
    embedding_calls: int
    store_writes: int
    """Files of the store that were written or deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Few:
    """A run after 1 % of the files changed and 1 % were deleted."""

    changed: int
    deleted: int
    embedded: int
    of_changed: int
    """Chunks of the changed documents."""
    records: int
    """Of the index."""
    stale: int
    """Records that a fresh index of the same files has not, or has in addition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Insertion:
    """A run after one sentence was inserted into a document."""

    place: str
    chunks: int
    embedded: int
    records: int
    """Written or deleted."""


def measure(options: Options) -> Result:
    """Measure all three, and the second command as a whole."""
    few_files = corpus.equal_files(300, FILE_CHARACTERS, options.data / "few" / "files")
    count = 600 if options.quick else 3_000
    many_files = corpus.equal_files(count, FILE_CHARACTERS, options.data / "many" / "files")
    unchanged = [_unchanged(files) for files in (few_files, many_files)]
    command = _second_command(few_files, options)
    few = _few(few_files)
    insertions = list(_insertions(10 if options.quick else 100, options.data))
    figures = _figures(unchanged, command, few, insertions)
    return Result(
        table=_table(unchanged, command, few, insertions),
        figures=figures,
        goals=_goals(unchanged, command, few, insertions),
        summary=(
            f"delta: {unchanged[0].files_per_second:,.0f} unchanged files checked per second;"
            f" an inserted sentence embeds {median(one.embedded for one in insertions):.0f} of"
            f" {median(one.chunks for one in insertions):.0f} chunks"
        ),
        notes=[str(few_files), str(many_files), f"embedder: {EMBEDDER}; of commands: the default"],
    )


def _open(data: Path) -> Flow:
    return vf.open(**{"data_dir": data, "embedder": EMBEDDER, "chunking.size": CHUNK_TOKENS})


def _unchanged(files: Corpus) -> Unchanged:
    data = files.folder.parent / "data"
    checking: list[float] = []
    whole: list[float] = []
    calls = 0
    with _open(data) as flow:
        flow.embed(files.folder)
        before = stored.state(data)
        for _ in range(5):
            checked, report = _timed(flow, files.folder)
            checking.append(checked)
            whole.append(report.seconds)
            calls += report.embedding_calls
    after = stored.state(data)
    return Unchanged(
        files=len(files.paths),
        files_per_second=len(files.paths) / median(checking),
        seconds=median(whole),
        embedding_calls=calls,
        store_writes=len(before.items() ^ after.items()),
    )


def _timed(flow: Flow, folder: Path) -> tuple[float, Report]:
    """Embed a folder; also give the seconds until its last file had been looked at."""
    started = time.perf_counter()
    checked = started

    def watch(progress: Progress) -> None:
        nonlocal checked
        if progress.scan and progress.scan.seen == progress.scan.documents:
            checked = time.perf_counter()

    report = flow.embed(folder, on_progress=watch)
    return checked - started, report


def _second_command(files: Corpus, options: Options) -> Ran:
    """Run `vectorflow embed DIR` again, with the local model, which is not needed then."""
    arguments = ["embed", files.folder, "--data-dir", options.data / "command", "--json"]
    variables = {"VECTORFLOW_EMBEDDER": EMBEDDER} if options.quick else {}
    commands.run(*arguments, **variables)
    runs = [commands.run(*arguments, **variables) for _ in range(3)]
    if any(commands.report(ran)["chunks_embedded"] for ran in runs):
        raise RuntimeError("a second `vectorflow embed` embedded something")
    return sorted(runs)[1]


def _few(files: Corpus) -> Few:
    """Change each hundredth file, delete each hundredth, and compare with a fresh index."""
    data = files.folder.parent / "data"
    changed, deleted = files.paths[10::100], files.paths[60::100]
    for path in changed:
        path.write_text(_with_sentence(path.read_text("utf-8"), 1, 0), encoding="utf-8")
    for path in deleted:
        path.unlink()
    with _open(data) as flow:
        report = flow.embed(files.folder)
    with _open(files.folder.parent / "fresh") as flow:
        fresh = flow.embed(files.folder)
    found, expected = stored.contents(data), stored.contents(files.folder.parent / "fresh")
    names = {path.name for path in changed}
    return Few(
        changed=len(changed),
        deleted=report.gone,
        embedded=report.chunks_embedded,
        of_changed=sum(count for (name, _), count in expected.items() if name in names),
        records=fresh.records,
        stale=((found - expected) + (expected - found)).total(),
    )


def _insertions(count: int, data: Path) -> Iterator[Insertion]:
    """Insert a sentence at start, middle and end of each document, one after the other."""
    files = corpus.equal_files(count, DOCUMENT_CHARACTERS, data / "long" / "files")
    with _open(data / "long" / "data") as flow:
        for path in files.paths:
            text = path.read_text("utf-8")
            chunks = flow.embed({"id": path.name, "text": text}).records_new
            for number, place in enumerate(PLACES):
                text = _with_sentence(text, number, number / (len(PLACES) - 1))
                report = flow.embed({"id": path.name, "text": text})
                yield Insertion(
                    place=place,
                    chunks=chunks,
                    embedded=report.chunks_embedded,
                    records=report.records_new + report.records_old,
                )


def _with_sentence(text: str, number: int, share: float) -> str:
    """Insert a sentence where another one ends, `share` of the way from the first to the last."""
    ends = [0, *(match.end() for match in SENTENCE_END.finditer(text))]
    at = ends[round(share * (len(ends) - 1))]
    return text[:at] + SENTENCE.format(number) + text[at:]


def _figures(
    unchanged: list[Unchanged], command: Ran, few: Few, insertions: list[Insertion]
) -> dict[str, object]:
    places = {
        place: {
            name: {"median": median(values), "p95": p95(values)}
            for name, values in _counts([one for one in insertions if one.place == place]).items()
        }
        for place in PLACES
    }
    return {
        "unchanged": [asdict(one) for one in unchanged],
        "second_command": {"seconds": command.seconds, "cpu_seconds": command.cpu_seconds},
        "few": asdict(few),
        "insertions": places,
    }


def _counts(insertions: list[Insertion]) -> dict[str, list[int]]:
    return {
        "embedded": [one.embedded for one in insertions],
        "records": [one.records for one in insertions],
    }


def _goals(
    unchanged: list[Unchanged], command: Ran, few: Few, insertions: list[Insertion]
) -> list[Goal]:
    counts = _counts(insertions)
    calls = sum(one.embedding_calls for one in unchanged)
    writes = sum(one.store_writes for one in unchanged)
    slowest = round(min(one.files_per_second for one in unchanged))
    return [
        Goal(what="unchanged: embedding calls", value=calls, at_most=0),
        Goal(what="unchanged: store files written", value=writes, at_most=0),
        Goal(what="unchanged: files checked per second", value=slowest, at_least=2_000),
        Goal(what="second command, s", value=round(command.seconds, 2), at_most=2),
        Goal(what="1 % changed: chunks embedded", value=few.embedded, at_most=few.of_changed),
        Goal(what="1 % deleted: stale records", value=few.stale, at_most=0),
        Goal(what="insertion: embedded, median", value=median(counts["embedded"]), at_most=3),
        Goal(what="insertion: embedded, p95", value=p95(counts["embedded"]), at_most=8),
        Goal(what="insertion: records, median", value=median(counts["records"]), at_most=5),
    ]


def _table(
    unchanged: list[Unchanged], command: Ran, few: Few, insertions: list[Insertion]
) -> list[Row]:
    rows: list[Row] = [("what", "figure")]
    for one in unchanged:
        rows += [
            (f"{one.files:,} unchanged files: checked per second", f"{one.files_per_second:,.0f}"),
            (f"{one.files:,} unchanged files: the whole call, s", f"{one.seconds:.2f}"),
        ]
    rows += [
        ("second command: s", f"{command.seconds:.2f}"),
        ("second command: CPU s", f"{command.cpu_seconds:.2f}"),
        (f"{few.changed} files changed: chunks embedded", f"{few.embedded}"),
        (f"{few.changed} files changed: chunks of them", f"{few.of_changed}"),
        (f"{few.deleted} files deleted: stale records of {few.records:,}", f"{few.stale}"),
    ]
    for place in PLACES:
        counts = _counts([one for one in insertions if one.place == place])
        rows += [
            (f"sentence at {place}: {name}, median / p95", f"{median(found):g} / {p95(found):g}")
            for name, found in counts.items()
        ]
    return rows
