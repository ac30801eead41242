"""JSON -> lines of text: what the extractors of JSON and JSON Lines share."""

import json
from collections.abc import Iterator
from itertools import chain

from vectorflow.adapters._blocks import Block, Table, Text
from vectorflow.errors import BrokenFile, LimitExceeded

MAX_DEPTH = 200
"""Objects and arrays inside each other; what people write has some ten."""

_SHORTEST_TABLE = 10
"""Objects; fewer are paragraphs, as a table is cut apart from the text around it."""

_LONGEST_CELL = 300
"""Characters."""

_LONGEST_PATH = 200
"""Characters."""


class Members(tuple[tuple[str, "Value"], ...]):
    """An object: its members in order, those with the same name too."""

    __slots__ = ()


Value = Members | list["Value"] | str | bool | None
"""A value; numbers are text as it was written."""


def parse(text: str) -> Value:
    """Parse a document; numbers keep their digits, and control characters in text are let be.

    Raises:
        BrokenFile: It is no JSON; says the line and column.
        LimitExceeded: It is nested too deeply.
    """
    try:
        value: Value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        # Not `from error`: it carries the document.
        message = f"no JSON from line {error.lineno}, column {error.colno}"
        raise BrokenFile(message, fix="write it anew with the program that made it") from None
    except RecursionError:
        raise _too_deep() from None
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=Members, parse_float=str, parse_int=str, parse_constant=str, strict=False
)


def record(value: Value, path: str = "") -> str:
    """Write a value as lines `path: value`, the path of names as `author.name` or `items[2].sku`.

    Raises:
        LimitExceeded: It is nested too deeply.
    """
    written: list[str] = []
    _write(value, path, 0, written)
    return "\n".join(written)


def blocks(value: Value, path: str = "", depth: int = 0) -> Iterator[Block]:
    """Write a document: a paragraph for each object, and for each item of an array of objects.

    A long array of objects that are alike becomes a table.

    Raises:
        LimitExceeded: It is nested too deeply.
    """
    _check_depth(depth)
    if isinstance(value, list) and _has_parts(value):
        yield from _items(value, path)
    elif isinstance(value, Members) and value:
        plain: list[str] = []
        for name, member in value:
            if member and (isinstance(member, Members) or _has_parts(member)):
                yield Text("\n".join(plain))
                plain.clear()
                yield from blocks(member, _joined(path, name), depth + 1)
            else:
                _write(member, _joined(path, name), depth, plain)
        yield Text("\n".join(plain))
    else:
        yield Text(record(value, path))


def _items(items: list[Value], path: str) -> Iterator[Block]:
    if len(items) >= _SHORTEST_TABLE and (names := _columns(items)):
        rows = (
            [_scalar(value) for _, value in item] for item in items if isinstance(item, Members)
        )
        yield Table(chain(([_joined(path, name) for name in names],), rows))
        return
    for number, item in enumerate(items):
        yield Text(record(item, f"{path}[{number}]" if path else ""))


def _columns(items: list[Value]) -> tuple[str, ...]:
    """Name the members that all items have; empty where they are no rows of one table."""
    columns: set[tuple[str, ...]] = set()
    for item in items:
        if not isinstance(item, Members) or any(_is_long(value) for _, value in item):
            return ()
        columns.add(tuple(name for name, _ in item))
        if len(columns) > 1:
            return ()
    names = columns.pop()
    return names if len(names) > 1 else ()


def _is_long(value: Value) -> bool:
    """Tell whether a value would not fit into a cell of a table."""
    return isinstance(value, (Members, list)) or len(_scalar(value)) > _LONGEST_CELL


def _write(value: Value, path: str, depth: int, written: list[str]) -> None:
    _check_depth(depth)
    if isinstance(value, Members) and value:
        for name, member in value:
            _write(member, _joined(path, name), depth + 1, written)
    elif isinstance(value, list) and _has_parts(value):
        for number, item in enumerate(value):
            _write(item, f"{path}[{number}]", depth + 1, written)
    elif isinstance(value, list) and any(_is_long(item) for item in value):
        written += [_line(path, _scalar(item)) for item in value]
    elif isinstance(value, list):
        written.append(_line(path, ", ".join(map(_scalar, value)) if value else "[]"))
    else:
        written.append(_line(path, _scalar(value)))


def _has_parts(value: Value) -> bool:
    """Tell whether it is an array that holds more than texts and numbers."""
    return isinstance(value, list) and any(isinstance(item, (Members, list)) for item in value)


def _joined(path: str, name: str) -> str:
    """Go on with a path; the begin of a long one is left out, or it would be all there is."""
    return f"{path[-_LONGEST_PATH:]}.{name}" if path else name


def _line(path: str, text: str) -> str:
    return f"{path}: {text}" if path else text


def _scalar(value: Value) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case _:
            return "{}"


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _too_deep()


def _too_deep() -> LimitExceeded:
    message = f"objects or arrays lie more than {MAX_DEPTH} deep in each other"
    return LimitExceeded("depth", message)
