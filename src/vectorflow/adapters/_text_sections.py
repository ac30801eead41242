"""Bounded sections out of text that comes in pieces."""

from collections.abc import Iterable, Iterator

from vectorflow.adapters._text_cuts import CONTEXT, LEVELS, choose, splits_character
from vectorflow.domain.documents import MAX_SECTION

_SHORTEST = MAX_SECTION * 3 // 4
ENOUGH = MAX_SECTION + CONTEXT
"""Characters that decide one cut: with fewer at hand, how the text came in pieces would show."""


def bounded(pieces: Iterable[str]) -> Iterator[str]:
    """Join pieces to sections of at most `MAX_SECTION` characters, cut at the best place near."""
    parts: list[str] = []
    length = 0
    for piece in pieces:
        parts.append(piece)
        length += len(piece)
        if length < ENOUGH:
            continue
        text, begin = "".join(parts), 0
        while length >= ENOUGH:
            at = _cut(text[begin : begin + ENOUGH])
            yield text[begin : begin + at]
            begin += at
            length -= at
        parts = [text[begin:]]
    yield from _last("".join(parts))


def _last(text: str) -> Iterator[str]:
    if len(text) > MAX_SECTION:
        at = _cut(text)
        yield text[:at]
        text = text[at:]
    if text:
        yield text


def _cut(text: str) -> int:
    for places in LEVELS:
        if (at := choose(text, places(text, _SHORTEST, MAX_SECTION))) is not None:
            return at
    whole = (at for at in range(MAX_SECTION, _SHORTEST, -1) if not splits_character(text, at))
    return next(whole, MAX_SECTION)
