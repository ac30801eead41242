"""Jupyter notebooks."""

import json
import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import BinaryIO, ClassVar, cast

from vectorflow.adapters._blocks import Block, Code, Heading, Text, sections
from vectorflow.adapters._text_decoding import decoded
from vectorflow.adapters._whole import whole
from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import BrokenFile, LimitExceeded
from vectorflow.ports.extractor import Extractor

MAX_NOTEBOOK = 128 << 20
"""Bytes; most of a large one is pictures."""

_LONGEST_OUTPUT = 1000
"""Characters; a longer output is a listing of numbers or a log."""

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+|\Z)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_PICTURE = re.compile(r"!\[([^\]\n]*)\]\((?:data|attachment):[^)\s]*\)")
"""A picture that lies in the notebook; what stands for it is kept."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-f]+>")

_Fields = Mapping[str, object]


class NotebookExtractor(Extractor):
    """Gives the cells in order: text with its headings, code, and what came out if it is short.

    Pictures are left out, and what programs wrote to their error output.
    """

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".ipynb",)

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        text = "".join(decoded(BytesIO(whole(source, MAX_NOTEBOOK))))
        if text.strip():
            notebook = _parsed(text)
            yield from sections(_blocks(notebook), _properties(notebook))


def _parsed(text: str) -> _Fields:
    try:
        notebook: object = json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        # Not `from error`: it carries the document.
        raise BrokenFile(f"no JSON from line {error.lineno:,}") from None
    except RecursionError:
        raise LimitExceeded("depth", "objects or arrays lie too deep in each other") from None
    if not (_fields(notebook).keys() & {"cells", "worksheets"}):
        raise BrokenFile("it is JSON, but no notebook")
    return _fields(notebook)


def _blocks(notebook: _Fields) -> Iterator[Block]:
    described = _fields(notebook.get("metadata"))
    kernel, info = _fields(described.get("kernelspec")), _fields(described.get("language_info"))
    language = _text(kernel.get("language")) or _text(info.get("name"))
    for cell in _cells(notebook):
        written = _text(cell.get("source") or cell.get("input"))
        match cell.get("cell_type"):
            case "code":
                yield Code(written, (_text(cell.get("language")) or language).lower())
                yield from map(Code, _outputs(cell))
            case "heading":  # of notebooks before version 4
                level = cell.get("level")
                yield Heading(level if isinstance(level, int) else 1, written)
            case "markdown":
                yield from _markdown(_PICTURE.sub(r"\1", written))
            case _:
                yield Text(written)


def _cells(notebook: _Fields) -> Iterator[_Fields]:
    """Give the cells; before version 4 they lay in worksheets."""
    for holder in (notebook, *map(_fields, _items(notebook.get("worksheets")))):
        yield from map(_fields, _items(holder.get("cells")))


def _markdown(text: str) -> Iterator[Block]:
    """Part text at its headings."""
    held: list[str] = []
    fence = ""
    for line in text.splitlines():
        if fence:
            fence = "" if line.strip().startswith(fence) else fence
        elif opened := _FENCE.match(line):
            fence = opened[1]
        elif heading := _HEADING.match(line):
            yield Text("\n".join(held))
            yield Heading(len(heading[1]), line[heading.end() :].rstrip(" \t#"))
            held = []
            continue
        held.append(line)
    yield Text("\n".join(held))


def _outputs(cell: _Fields) -> Iterator[str]:
    for output in map(_fields, _items(cell.get("outputs"))):
        text = _COLOURS.sub("", _output(output)).strip("\n")
        if text.strip() and len(text) <= _LONGEST_OUTPUT and not _ADDRESS.fullmatch(text.strip()):
            yield text


def _output(output: _Fields) -> str:
    match output.get("output_type"):
        case "stream":
            name = output.get("name") or output.get("stream")
            return "" if name == "stderr" else _text(output.get("text"))
        case "error" | "pyerr":
            return f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}"
        case _:
            # Before version 4 there was no `data`: each form lay in the output itself.
            return _shown(_fields(output.get("data")) or output)


def _shown(forms: _Fields) -> str:
    """Give the text of an output that has several forms; beside a picture it is but its name."""
    if any(form.startswith("image/") or form in {"png", "jpeg", "svg"} for form in forms):
        return ""
    wanted = ("text/markdown", "text/plain", "text/latex", "text", "latex")
    return next((text for form in wanted if (text := _text(forms.get(form)))), "")


def _properties(notebook: _Fields) -> Mapping[str, str]:
    described = _fields(notebook.get("metadata"))
    authors = (_text(_fields(author).get("name")) for author in _items(described.get("authors")))
    return {"title": _text(described.get("title")), "author": ", ".join(filter(None, authors))}


# A notebook comes from a stranger: any value may be missing or of another type.


def _fields(value: object) -> _Fields:
    return cast("_Fields", value) if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _text(value: object) -> str:
    """Give text, which notebooks may hold as a list of lines."""
    if isinstance(value, str):
        return value
    return "".join(item for item in _items(value) if isinstance(item, str))
