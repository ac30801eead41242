"""What it costs to extract small files in children instead of in the worker itself."""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from html.parser import HTMLParser
from io import BytesIO
from typing import BinaryIO, ClassVar

from benchmarks import corpus
from benchmarks.measuring import Goal, Options, Result, Row, cpu_seconds, middle
from benchmarks.watching import progress
from vectorflow import plugins
from vectorflow.adapters.extractors.text import TextExtractor
from vectorflow.domain.documents import Section
from vectorflow.errors import UnknownPlugin
from vectorflow.ports.extractor import Extractor
from vectorflow.sandbox.extractor import SandboxedExtractor
from vectorflow.sandbox.places import places_of
from vectorflow.sandbox.pool import Pool, PoolOptions
from vectorflow.service.cutting import RUN_DOCUMENTS

CHARACTERS = 1000
ROUNDS = 3
MOST_EXTRA = 300.0
"""Microseconds: a document of one chunk costs some milliseconds from end to end."""

Documents = Sequence[bytes]
ExtractEach = Callable[[Sequence[BinaryIO]], Iterator[Iterator[object]]]


class TagsRemoved(Extractor):
    """Stands for the extractor of HTML where none is installed."""

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".html",)

    def extract(self, source: BinaryIO) -> Iterator[Section]:
        """Give all text in one section."""
        texts: list[str] = []
        parser = HTMLParser()
        parser.handle_data = texts.append  # type: ignore[method-assign]
        parser.feed(source.read().decode())
        yield Section(text="".join(texts), start=0)


def measure(options: Options) -> Result:
    """Extract the same documents in this process and in children, in turns."""
    count = 500 if options.quick else 10_000
    made = corpus.equal_files(count, CHARACTERS, options.data / "corpus")
    texts = [path.read_bytes() for path in made.paths]
    html = _html_extractor()
    kinds: dict[str, tuple[type[Extractor], Documents]] = {
        "text": (TextExtractor, texts),
        "HTML": (html, [_as_html(text) for text in texts]),
    }
    figures = {name: _compared(name, *kind) for name, kind in kinds.items()}
    extra = max(figure["extra"] for figure in figures.values())
    said = ", ".join(f"{name} {figure['extra']:.0f} us" for name, figure in figures.items())
    return Result(
        table=_table(figures),
        figures={**figures, "documents": count},
        goals=[Goal(what="CPU of the sandbox, us a document", value=extra, at_most=MOST_EXTRA)],
        summary=f"sandbox: CPU that children add to a document of 1 KB: {said}",
        notes=[
            str(made),
            f"HTML is read by {html.__module__}; text is never sandboxed in the product",
            f"{ROUNDS} rounds in turns, medians; CPU of this process and one child with its start",
        ],
    )


def _compared(name: str, extractor: type[Extractor], documents: Documents) -> dict[str, float]:
    inside: list[float] = []
    children: list[float] = []
    for turn in range(ROUNDS):
        progress(f"{name}: round {turn + 1} of {ROUNDS}")
        inside.append(_microseconds(extractor().extract_each, documents))
        children.append(_in_children(extractor, documents))
    here, there = middle(inside, 1), middle(children, 1)
    return {
        "in_process": here,
        "sandboxed": there,
        "extra": round(there - here, 1),
        "share": round((there - here) / there, 3),
    }


def _in_children(extractor: type[Extractor], documents: Documents) -> float:
    packages = {"vectorflow", "benchmarks", extractor.__module__.partition(".")[0]}
    pool = Pool(lambda: places_of(packages), options=PoolOptions(children=1))
    name = f"{extractor.__module__}:{extractor.__qualname__}"

    def extract_each(sources: Sequence[BinaryIO]) -> Iterator[Iterator[object]]:
        return SandboxedExtractor(pool, name).extract_each(sources)

    return _microseconds(extract_each, documents, pool.close)


def _microseconds(
    extract_each: ExtractEach, documents: Documents, close: Callable[[], None] = lambda: None
) -> float:
    """CPU of a document, of runs as a worker has them; that of children shows when they ended."""
    began = cpu_seconds()
    for first in range(0, len(documents), RUN_DOCUMENTS):
        run = [BytesIO(document) for document in documents[first : first + RUN_DOCUMENTS]]
        for pieces in extract_each(run):
            for _ in pieces:
                pass
    close()
    return (cpu_seconds() - began) / len(documents) * 1e6


def _html_extractor() -> type[Extractor]:
    try:
        found: type[Extractor] = plugins.load("extractors", "html")
    except UnknownPlugin:
        return TagsRemoved
    return found


def _as_html(text: bytes) -> bytes:
    paragraphs = "".join(f"<p>{escape(part)}</p>" for part in text.decode().split("\n\n"))
    return f"<!doctype html><title>Text</title><h1>Text</h1>{paragraphs}".encode()


def _table(figures: dict[str, dict[str, float]]) -> list[Row]:
    rows = [("CPU us a document", "in process", "sandboxed", "extra", "share of the sandbox")]
    for name, figure in figures.items():
        cells = [f"{figure[column]:.0f}" for column in ("in_process", "sandboxed", "extra")]
        rows.append((name, *cells, f"{figure['share']:.0%}"))
    return rows
