"""RTF -> pieces: follows groups, and what they are for."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO

from vectorflow.adapters._blocks import Heading, Text
from vectorflow.adapters._fields import Fields
from vectorflow.adapters._list_labels import BULLET, DEEPEST
from vectorflow.adapters._pieces import CODE_STYLES, Item, Line, Piece, Title
from vectorflow.adapters._properties import properties
from vectorflow.adapters._rtf_rows import MERGES, Rows
from vectorflow.adapters._rtf_tokens import Token, Tokens, codec_of_charset, codec_of_page
from vectorflow.adapters._rtf_words import (
    CHARACTERS,
    DATE_PARTS,
    DATES,
    EDGES,
    INFO,
    KEPT,
    SKIPPED,
)
from vectorflow.errors import BrokenFile, LimitExceeded

_DEEPEST_GROUP = 1000
_BODY_LEVEL = 9
"""Outline level, counted from 0, of text that is no heading."""

_HEADING = re.compile(r"heading ([1-9])")
_SURROGATE = re.compile("[\ud800-\udfff]")

Word = Callable[[int | None], None]
"""Does what a control word says, with the number that follows it."""


@dataclass(slots=True)
class _Group:
    """What holds between two braces."""

    codec: str = "cp1252"
    after_unicode: int = 1
    """Bytes that stand after each character of Unicode for readers that do not know it."""
    skipped: bool = False
    is_instruction: bool = False
    hidden: bool = False
    deleted: bool = False
    captured: list[str] | None = None
    """Where text goes that is none of the body."""
    close: Callable[[str], None] | None = None
    """What is done with what was captured, at the brace that ends the group."""


@dataclass(slots=True)
class _Paragraph:
    style: int = 0
    outline: int = _BODY_LEVEL
    level: int = 0
    """Of a list."""
    in_table: bool = False


class Reader:
    """Reads one document."""

    def __init__(self, source: BinaryIO) -> None:
        self._tokens = Tokens(source)
        self._groups: list[_Group] = []
        self._fields = Fields()
        self._rows = Rows()
        self._paragraph = _Paragraph()
        self._starred = False
        self._to_skip = 0
        self._raw = bytearray()
        """Bytes that wait for the rest of their character."""
        self._text: list[str] = []
        self._label = ""
        self._after: list[Text] = []
        """Notes and text boxes that follow this paragraph."""
        self._ready: list[Piece] = []
        self._notes = 0
        self._seen: set[str] = set()
        self._said: list[tuple[str, str]] = []
        self._date: dict[str, int] = {}
        self._codec = "cp1252"
        self._fonts: dict[int, str] = {}
        self._declared = 0
        """The font or style that is being declared."""
        self._declares = ""
        """What is being declared: `fonts`, `styles`, or nothing."""
        self._styles: dict[int, str] = {}
        self._words = self._by_word()

    @property
    def properties(self) -> Mapping[str, str]:
        """What the document says of itself; known once it has given a piece."""
        return properties(self._said)

    def pieces(self) -> Iterator[Piece]:
        """Give the document piece by piece.

        Raises:
            BrokenFile: It ends too early.
        """
        for token in self._tokens:
            self._take(token)
            if self._ready:
                yield from self._ready
                self._ready.clear()
            if not self._groups:
                return
        raise BrokenFile("it ends in the middle")

    def _take(self, token: Token) -> None:
        if token.data:
            self._data(token.data)
        elif token.brace or token.word:
            self._flush()
            self._to_skip = 0
            if token.word:
                self._word(token.word, token.number)
            elif token.brace == "{":
                self._open()
            else:
                self._close()

    def _data(self, data: bytes) -> None:
        skipped = min(self._to_skip, len(data))
        self._to_skip -= skipped
        if self._groups and not self._groups[-1].skipped:
            self._raw += data[skipped:]

    def _flush(self) -> None:
        if self._raw:
            text = self._raw.decode(self._groups[-1].codec, "ignore")
            self._raw.clear()
            self._say(text)

    def _say(self, text: str) -> None:
        group = self._groups[-1]
        if group.hidden or group.deleted:
            return
        if group.is_instruction:
            self._fields.instruct(text)
        elif self._fields.quiet:
            return
        elif group.captured is None:
            self._text.append(text)
        else:
            group.captured.append(text)

    def _open(self) -> None:
        self._starred = False
        if len(self._groups) >= _DEEPEST_GROUP:
            raise LimitExceeded("depth", f"it has groups more than {_DEEPEST_GROUP:,} deep")
        outer = self._groups[-1] if self._groups else _Group()
        inner = replace(outer, close=None)
        if outer.close == self._end_declarations and self._declares == "styles":
            self._declared = 0
            inner = replace(inner, captured=[], close=self._declare_style)
        self._groups.append(inner)

    def _close(self) -> None:
        if not self._groups:
            return
        group = self._groups.pop()
        if group.close is not None:
            group.close("".join(group.captured or ()))
        if not self._groups:
            self._end_paragraph()
            self._ready += self._rows.take()

    def _word(self, word: str, number: int | None) -> None:
        if not self._groups:
            return
        group = self._groups[-1]
        starred, self._starred = self._starred, word == "*"
        if word == "bin":
            self._tokens.skip(max(0, number or 0))
        elif word in {"upr", "ud"}:
            group.skipped = word == "upr"  # it may hold the same once more, in Unicode
        elif (starred and word not in KEPT) or word in SKIPPED:
            self._tokens.skip_group()
        elif group.skipped:
            return
        elif character := CHARACTERS.get(word):
            self._say(character)
        elif act := self._words.get(word):
            act(number)

    def _by_word(self) -> dict[str, Word]:
        """Give what each control word does."""
        capture, rows = self._capture, self._rows
        return {
            **dict.fromkeys(("par", "sect", "\n", "\r"), self._par),
            **dict.fromkeys(EDGES, lambda _: capture(self._edge)),
            **{word: partial(self._begin_info, name) for word, name in INFO.items()},
            **{word: partial(self._begin_date, name) for word, name in DATES.items()},
            **{word: partial(self._date_part, word) for word in DATE_PARTS},
            **{word: partial(self._merge, word) for word in MERGES},
            "ansicpg": self._code_page,
            "cell": self._cell,
            "cellx": lambda _: rows.define_cell(),
            "deleted": lambda number: self._change(deleted=number != 0),
            "f": self._font,
            "fcharset": self._charset,
            "field": lambda _: self._begin_field(),
            "fldinst": lambda _: self._change(is_instruction=True),
            "fldrslt": lambda _: self._fields.separate(),
            "fonttbl": lambda _: self._declare("fonts"),
            "footnote": lambda _: capture(self._note),
            "ilvl": self._level,
            "intbl": lambda _: self._in_table(1),
            "itap": self._in_table,
            "listtext": lambda _: capture(self._set_label),
            "outlinelevel": self._outline,
            "pard": lambda _: self._reset_paragraph(),
            "plain": lambda _: self._change(hidden=False, deleted=False),
            "pntext": lambda _: capture(self._set_label),
            "row": lambda _: rows.end_row(),
            "s": self._style,
            "shptxt": lambda _: capture(self._box),
            "stylesheet": lambda _: self._declare("styles"),
            "trowd": lambda _: rows.define_row(),
            "u": self._unicode,
            "uc": self._after_unicode,
            "v": lambda number: self._change(hidden=number != 0),
        }

    def _change(self, **changes: bool) -> None:
        for name, value in changes.items():
            setattr(self._groups[-1], name, value)

    def _capture(self, close: Callable[[str], None]) -> None:
        """Keep the text of this group apart, for what takes it at its end."""
        self._groups[-1].captured = []
        self._groups[-1].close = close

    def _par(self, _: int | None) -> None:
        captured = self._groups[-1].captured
        if captured is None:
            self._end_paragraph()
        elif not self._fields.quiet:
            captured.append("\n")

    def _cell(self, _: int | None) -> None:
        captured = self._groups[-1].captured
        if captured is None:
            self._rows.add_line(self._taken().strip())
            self._rows.end_cell()
        else:
            captured.append(" ")

    def _unicode(self, number: int | None) -> None:
        self._say(chr((number or 0) % (1 << 16)))
        self._to_skip = self._groups[-1].after_unicode

    def _after_unicode(self, number: int | None) -> None:
        self._groups[-1].after_unicode = 1 if number is None else max(0, number)

    def _code_page(self, number: int | None) -> None:
        self._codec = codec_of_page(number or 0)
        for group in self._groups:
            group.codec = self._codec

    def _font(self, number: int | None) -> None:
        if self._declares == "fonts":
            self._declared = number or 0
        else:
            self._groups[-1].codec = self._fonts.get(number or 0, self._codec)

    def _charset(self, number: int | None) -> None:
        if self._declares == "fonts":
            self._fonts[self._declared] = codec_of_charset(number or 0, self._codec)

    def _style(self, number: int | None) -> None:
        if self._declares == "styles":
            self._declared = number or 0
        else:
            self._paragraph.style = number or 0

    def _declare(self, what: str) -> None:
        self._declares = what
        self._capture(self._end_declarations)

    def _end_declarations(self, _: str) -> None:
        self._declares = ""

    def _declare_style(self, name: str) -> None:
        if name := name.strip().rstrip(";").lower():
            self._styles[self._declared] = name

    def _begin_info(self, name: str, _: int | None) -> None:
        self._capture(lambda text: self._said.append((name, _whole(text))))

    def _begin_date(self, name: str, _: int | None) -> None:
        self._date = {}
        self._capture(lambda _: self._said.append((name, _iso(self._date))))

    def _date_part(self, part: str, number: int | None) -> None:
        self._date[part] = number or 0

    def _begin_field(self) -> None:
        self._fields.begin()
        self._groups[-1].close = lambda _: self._fields.end()

    def _merge(self, how: str, _: int | None) -> None:
        self._rows.merge(how)

    def _level(self, number: int | None) -> None:
        self._paragraph.level = max(0, min(number or 0, DEEPEST))

    def _outline(self, number: int | None) -> None:
        self._paragraph.outline = max(0, min(number or 0, _BODY_LEVEL))

    def _in_table(self, depth: int | None) -> None:
        self._paragraph.in_table = bool(depth)

    def _reset_paragraph(self) -> None:
        if self._declares != "styles":
            self._paragraph = _Paragraph()

    def _set_label(self, text: str) -> None:
        label = _whole(text).strip()
        # Word takes the letter o of a typewriter for a circle.
        self._label = label if any(map(str.isalnum, label)) and label != "o" else BULLET

    def _edge(self, text: str) -> None:
        """Give what stands above or below pages, each text once."""
        if (said := _whole(text).strip()) not in self._seen:
            self._seen.add(said)
            self._ready.append(Text(said))

    def _note(self, text: str) -> None:
        if said := _whole(text).strip():
            self._notes += 1
            self._say(f"[^{self._notes}]")
            self._after.append(Text(f"[^{self._notes}]: {said}"))

    def _box(self, text: str) -> None:
        self._after.append(Text(_whole(text).strip()))

    def _taken(self) -> str:
        taken = _whole("".join(self._text))
        self._text.clear()
        return taken

    def _end_paragraph(self) -> None:
        text, label = self._taken(), self._label
        self._label = ""
        if self._paragraph.in_table:
            self._rows.add_line(text.strip())
            return
        self._ready += self._rows.take()
        if text.strip():
            self._ready.append(self._piece(text, label))
        self._ready += self._after
        self._after = []

    def _piece(self, text: str, label: str) -> Piece:
        style = self._styles.get(self._paragraph.style, "")
        heading = _HEADING.fullmatch(style)
        level = int(heading[1]) if heading else (self._paragraph.outline + 1) % (_BODY_LEVEL + 1)
        if style == "title":
            return Title(text.strip())
        if level:
            return Heading(level, text if label in {"", BULLET} else f"{label} {text.strip()}")
        if style in CODE_STYLES:
            return Line(text)
        return Item(self._paragraph.level, label, text.strip()) if label else Text(text.strip())


def _whole(text: str) -> str:
    """Join the halves of characters, and leave out lone ones and the space at the end."""
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return text.rstrip()


def _iso(parts: Mapping[str, int]) -> str:
    """Write a date as ISO 8601, to the minute; empty where it has no year."""
    year, month, day, hour, minute = (parts.get(name, 0) for name in DATE_PARTS)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:00" if year else ""
