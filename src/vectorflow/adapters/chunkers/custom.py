"""Functions of the operator's own that cut: `./mine.py:function`, `package.module:function`."""

import hashlib
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Final

from vectorflow.adapters._text_tokens import TokenizedText
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.errors import BadChunk, InvalidInput
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.tokenizer import Tokenizer

_REVISION_BYTES: Final = 6
"""As many as any JSON reader takes for an exact number."""

Cut = Callable[[str], Iterable[tuple[int, int]] | Iterable[str]]
"""Takes the text of a section; gives chunks as bounds or as what they say, in order."""


class CustomChunker(Chunker):
    """Lets a function cut, and holds what it gives against the laws of the port.

    White space around a chunk is cut off. The function decides overlaps itself; it is not told the
    size, but no chunk may exceed it. Made by `load`, as a class for each function.
    """

    revision: ClassVar[int]
    named: ClassVar[str]
    """As the settings name it."""
    cut: ClassVar[Cut]

    def __init__(self, tokenizer: Tokenizer, chunking: Chunking) -> None:
        TokenizedText.check(chunking)
        self._tokenizer = tokenizer
        self._size = chunking.size

    def chunk(self, section: Section) -> Spans:
        text = TokenizedText(section.text, self._tokenizer)
        if not section.text.strip():
            return text.spans(())
        bounds = list(self._bounds(section.text))
        spans = text.spans(bounds)
        self._check_whole(section.text, spans)
        for position, tokens in enumerate(spans.tokens.tolist()):
            if tokens > self._size:
                message = f"{self.named} gave a chunk of {tokens} tokens, {self._size} are allowed"
                fix = "let it cut smaller chunks, or ask for a larger chunk size"
                raise BadChunk(message, position=position, fix=fix)
        return spans

    def _bounds(self, text: str) -> Iterator[tuple[int, int]]:
        start, end = -1, 0
        for position, piece in enumerate(self._pieces(text)):
            match piece:
                case str():
                    at = _found(text, piece, start, end)
                    bounds = (at, at + len(piece))
                case (int(first), int(last)):
                    bounds = (first, last)
                case _:
                    raise self._broken(
                        f"chunk {position} is neither text nor two numbers", position
                    )
            if not 0 <= bounds[0] <= bounds[1] <= len(text):
                raise self._broken(f"chunk {position} is not in the text", position)
            if bounds[0] < start or bounds[1] < end:
                raise self._broken(f"chunk {position} begins or ends before the last one", position)
            start, end = bounds
            yield bounds

    def _pieces(self, text: str) -> Iterator[object]:
        """Run the function, which may do anything and may quote the text in what it raises."""
        try:
            yield from type(self).cut(text)
        except Exception as error:  # noqa: BLE001 - code that is not ours
            raise self._broken(f"{type(error).__name__}{_line_of(error)}", 0) from None

    def _check_whole(self, text: str, spans: Spans) -> None:
        covered = 0
        bounds = zip(spans.starts.tolist(), spans.ends.tolist(), strict=True)
        for position, (start, end) in enumerate((*bounds, (len(text), len(text)))):
            if text[covered:start].strip():
                what = f"characters {covered} to {start} of a section are in no chunk"
                raise self._broken(what, position)
            covered = end

    def _broken(self, what: str, position: int) -> BadChunk:
        fix = "mend the function: its chunks must follow each other and hold all of the text"
        return BadChunk(f"{self.named} failed: {what}", position=position, fix=fix)


def is_custom(name: str) -> bool:
    """Tell whether a chunker's name is that of a function."""
    return ":" in name


@cache
def load(name: str) -> type[CustomChunker]:
    """Make a chunker's class of the function that a name points to; its code runs here.

    Its revision is a hash of the file, so that an edit makes all documents new.

    Raises:
        InvalidInput: There is no such file or function, or it cannot be imported.
    """
    where, _, function = name.rpartition(":")
    path = Path(where) if where.endswith(".py") else _module_file(where)
    try:
        source = path.read_bytes()
    except OSError as error:
        message = f"chunker {name!r} cannot be read: {error.strerror}"
        raise InvalidInput(message, fix="name it as ./file.py:function") from error
    digest = hashlib.blake2b(source, digest_size=_REVISION_BYTES).digest()
    found: object = getattr(_run(name, path, source, digest), function, None)
    if not callable(found):
        message = f"chunker {name!r}: {path.name} has no function {function!r}"
        raise InvalidInput(message, fix="name a function that takes a text")
    parts = {
        "revision": int.from_bytes(digest),
        "named": name,
        "cut": staticmethod(found),
        "__doc__": CustomChunker.__doc__,
    }
    return type("CustomChunker", (CustomChunker,), parts)


def _module_file(where: str) -> Path:
    try:
        spec = find_spec(where)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        message = f"there is no Python module {where!r} to take a chunker from"
        raise InvalidInput(message, fix="name it as ./file.py:function or package.module:function")
    return Path(spec.origin)


def _run(name: str, path: Path, source: bytes, digest: bytes) -> ModuleType:
    """Run exactly the bytes that were hashed: a cache of compiled code may be older."""
    module = ModuleType(f"vectorflow_custom_chunker_{digest.hex()}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look there for their own module
    try:
        exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 - the operator's own file
    except Exception as error:
        message = f"chunker {name!r} cannot be loaded: {type(error).__name__}{_line_of(error)}"
        raise InvalidInput(message, fix=f"see that `python {path.name}` runs") from error
    return module


def _found(text: str, piece: str, start: int, end: int) -> int:
    """Find a piece after the last one, or where it overlaps that; -1 if it is in neither place."""
    after = text.find(piece, end)
    if after >= 0 and not text[end:after].strip():
        return after
    overlapping = text.find(piece, start + 1, end + len(piece))
    return overlapping if overlapping >= 0 else after


def _line_of(error: Exception) -> str:
    """Say in which line of the operator's file it happened; nothing of what it says."""
    if isinstance(error, SyntaxError):
        return f" in line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.lineno]
    return f" in line {frames[-1].lineno} of {Path(frames[-1].filename).name}" if frames else ""
