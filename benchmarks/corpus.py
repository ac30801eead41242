"""Real text found on this machine, always in the same order; nothing is downloaded or kept here.

First comes prose (Python's language reference, which ships with it, Perl's manual, the documents of
installed packages), then the sources of Python's standard library.
"""

import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from pydoc_data import topics

DOCS = Path("/usr/share/doc")
PERL = Path("/usr/share/perl")
SHORTEST = 200
"""Characters; what is shorter is no document."""
REPEATED = 0.05
"""Share of a document's long paragraphs that may have been in documents before it."""
LONGEST = 100_000
"""Characters; what is longer is several documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Files that were written."""

    folder: Path
    paths: tuple[Path, ...]
    bytes: int
    sources: tuple[str, ...]
    """What the text was taken from."""

    def __str__(self) -> str:
        """Say what it is."""
        made_of = ", ".join(self.sources)
        return f"corpus: {len(self.paths)} files, {self.bytes / 1e6:.2f} MB of {made_of}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    source: str
    name: str
    text: str


def files(size: int, folder: Path) -> Corpus:
    """Write about `size` bytes of text as `.txt` files, as long as they were found.

    Raises:
        LookupError: There is less text on this machine.
    """
    taken: list[_Found] = []
    left = size
    for found in _pieces(LONGEST):
        taken.append(_shortened(found, left))
        left -= len(taken[-1].text.encode())
        if left < SHORTEST:
            return _written(taken, folder)
    message = f"there is not that much text here: {left:,} of {size:,} bytes are missing"
    raise LookupError(message)


def equal_files(count: int, characters: int, folder: Path) -> Corpus:
    """Write `count` files of about `characters` each.

    Raises:
        LookupError: There is less text on this machine.
    """
    taken = list(islice(_strung(characters), count))
    if len(taken) < count:
        message = f"there are {len(taken)} texts of {characters:,} characters here, not {count}"
        raise LookupError(message)
    return _written(taken, folder)


def _strung(characters: int) -> Iterator[_Found]:
    """String texts of one source together until they are long enough."""
    held: _Found | None = None
    for found in _pieces(characters):
        if held is None or held.source != found.source:
            held = found
        else:
            text = f"{held.text}\n\n{found.text}"
            held = _Found(source=held.source, name=held.name, text=text)
        if len(held.text) >= 0.9 * characters:
            yield held
            held = None


def _pieces(longest: int) -> Iterator[_Found]:
    """Give all documents, the long ones cut where a paragraph ends."""
    for found in _unrepeated(_everything()):
        start = 0
        while len(found.text) - start >= SHORTEST:
            end = found.text.rfind("\n\n", start + longest // 2, start + longest)
            if end < 0 or len(found.text) - start <= longest:
                end = start + longest
            name = f"{found.name}-{start}" if start else found.name
            yield _Found(source=found.source, name=name, text=found.text[start:end])
            start = end


def _unrepeated(everything: Iterator[_Found]) -> Iterator[_Found]:
    """Leave out what mostly repeats other documents: equal chunks are embedded only once."""
    seen: set[str] = set()
    for found in everything:
        paragraphs = {part for part in found.text.split("\n\n") if len(part) >= SHORTEST}
        if len(paragraphs & seen) <= REPEATED * len(paragraphs):
            seen |= paragraphs
            yield found


def _everything() -> Iterator[_Found]:
    for name, text in sorted(topics.topics.items()):
        yield _Found(source="Python reference", name=f"topic-{name}", text=text)
    yield from _below(PERL, "Perl manual", (".pod",))
    yield from _below(DOCS, "package documents", (".txt", ".md", ".rst"))
    library = Path(sysconfig.get_path("stdlib"))
    yield from _below(library, "Python standard library", (".py",))


def _below(root: Path, source: str, suffixes: tuple[str, ...]) -> Iterator[_Found]:
    """Read what is UTF-8 text; tests and what was installed beside the library are left out."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        left_out = {"site-packages", "test", "tests", "__pycache__"}.intersection(parts)
        if left_out or path.suffix not in suffixes or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        yield _Found(source=source, name="-".join(parts), text=text)


def _shortened(found: _Found, size: int) -> _Found:
    data = found.text.encode()
    if len(data) <= size:
        return found
    text = data[:size].decode("utf-8", errors="ignore")
    return _Found(source=found.source, name=found.name, text=text)


def _written(taken: list[_Found], folder: Path) -> Corpus:
    folder.mkdir(parents=True)
    paths: list[Path] = []
    for number, found in enumerate(taken):
        paths.append(folder / f"{number:05}-{found.name[-80:]}.txt")
        paths[-1].write_text(found.text, encoding="utf-8")
    size = sum(path.stat().st_size for path in paths)
    sources = tuple(dict.fromkeys(found.source for found in taken))
    return Corpus(folder=folder, paths=tuple(paths), bytes=size, sources=sources)
