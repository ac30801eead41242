"""Where running text may be cut, and which of several places to take."""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

CONTEXT = 32
"""Characters on either side of a cut that decide how good it is."""

_KEY = b"vectorflow cuts 1"

_STRONG = 256 // 8

# ruff: noqa: RUF001 - the characters that end sentences look alike
_ENDS_BEFORE_SPACE = ".!?…‼⁇⁈⁉"
_ENDS = "。｡！？؟۔।॥։።፧။។៕།༎"
_RARER_ENDS = (
    "\u0700\u0701\u0702\u07f9\u0837\u0839\u083d\u083e\u0df4\u1368\u1803\u1809"
    "\u1944\u1945\u1aa8\u1aa9\u1aaa\u1aab\u1b5a\u1b5b\u1b5e\u1b5f\u1c3b\u1c3c"
    "\u1c7e\u1c7f\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f"
    "\ua9c8\ua9c9\uaa5d\uaa5e\uaa5f\uaaf0\uaaf1\uabeb\ufe12\ufe56\ufe57"
)
"""Of scripts such as Syriac, Burmese, Mongolian, Balinese, Javanese and Meitei."""
_CLOSERS = "\"'”’»›)\\]}」』）】》〉］*_`"

# Each pattern takes white space in one go and never gives it back: no text makes it slow.
_PARAGRAPH = re.compile(r"(?:\n\s*\n|\r(?!\n)\s*\r(?!\n)|\u2029)\s*+")
_SENTENCE = re.compile(rf"[{_ENDS_BEFORE_SPACE}{_ENDS}{_RARER_ENDS}]++[{_CLOSERS}]*+\s*+")
_NEEDS_NO_SPACE = re.compile(f"[{_ENDS}{_RARER_ENDS}]")
_LINE = re.compile(r"[\n\r\x0b\x0c\x85\u2028\u2029]\s*+")
_WORD = re.compile(r"\s++")

# fmt: off
_ABBREVIATIONS = frozenset({
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "gen", "col", "lt", "capt", "rev", "hon",
    "vs", "cf", "fig", "figs", "eq", "eqs", "sec", "ch", "vol", "vols", "pp", "ed", "eds", "approx",
    "dept", "e.g", "i.e", "viz", "ibid", "op", "al", "nr", "art", "abs", "bzw", "z.b", "u.a", "d.h",
    "ca", "usw", "sra", "srta",
})
# fmt: on
_LONGEST_ABBREVIATION = 8
_LONGEST_NUMBERING = 80
"""Characters from the start of a line that an indented number may take."""
_BEFORE_WORD = re.compile(r"[\s(\[\"'“‘]")

_MARKS = frozenset({"Mn", "Mc", "Me"})
_JOINER = "\u200d"
_ALSO_JOINED = re.compile(
    "[\u200c\u200d\u1160-\u11ff\ud7b0-\ud7fb\udc00-\udfff🏻-🏿\U000e0020-\U000e007f]"
)
"""Joiners, Hangul vowels and finals, low surrogates, skin tones, tags."""


def splits_character(text: str, at: int) -> bool:
    """Tell whether a cut would part what readers see as one character, or a CRLF."""
    if not 0 < at < len(text):
        return False
    after = text[at]
    if after < "\u0300":
        return after == "\n" and text[at - 1] == "\r"
    joined = unicodedata.category(after) in _MARKS or _ALSO_JOINED.match(after) is not None
    return joined or text[at - 1] == _JOINER


def paragraphs(text: str, low: int, high: int) -> list[int]:
    """Give where paragraphs begin, within the bounds, both included."""
    return _begins(_PARAGRAPH, text, low, high)


def sentences(text: str, low: int, high: int) -> list[int]:
    """Give where sentences begin, within the bounds, both included."""
    last = min(high, len(text) - 1)
    matches = _SENTENCE.finditer(text, low, last + 1)
    return [end for match in matches if (end := match.end()) <= last and _parts(text, match, end)]


def lines(text: str, low: int, high: int) -> list[int]:
    """Give the first visible character of each line, within the bounds, both included."""
    return _begins(_LINE, text, low, high)


def words(text: str, low: int, high: int) -> list[int]:
    """Give where words begin, within the bounds, both included."""
    return _begins(_WORD, text, low, high)


def within(places: Sequence[int], text: str, low: int, high: int) -> Sequence[int]:
    """Give those of some ascending places that lie within the bounds, both included."""
    del text
    return places[bisect_left(places, low) : bisect_right(places, high)]


Places = Callable[[str, int, int], Sequence[int]]

LEVELS: tuple[Places, ...] = (paragraphs, sentences, lines, words)
"""From the best places to cut to the poorest."""


def choose(text: str, places: Iterable[int]) -> int | None:
    """Take the place whose surroundings have the lowest hash; None if there is none to take.

    Only the text near a place decides, so that an edit elsewhere rarely moves a cut.
    """
    fit = [at for at in places if not splits_character(text, at)]
    return min(fit, key=lambda at: (_rank(text, at), -at), default=None)


def is_strong(text: str, at: int) -> bool:
    """Tell whether a place is one of the eighth with the lowest hashes."""
    return _rank(text, at)[0] < _STRONG


def _rank(text: str, at: int) -> bytes:
    near = text[max(0, at - CONTEXT) : at + CONTEXT].encode("utf-8", "surrogatepass")
    return blake2b(near, digest_size=8, key=_KEY).digest()


def _begins(pattern: re.Pattern[str], text: str, low: int, high: int) -> list[int]:
    last = min(high, len(text) - 1)
    matches = pattern.finditer(text, max(0, low - 1), last + 1)
    return [end for match in matches if low <= (end := match.end()) <= last]


def _parts(text: str, match: re.Match[str], end: int) -> bool:
    """Tell whether a sentence ends with these marks, and not an abbreviation or a line's number."""
    if not text[end - 1].isspace():
        return _NEEDS_NO_SPACE.search(match[0]) is not None
    at = match.start()
    if text[at] != ".":
        return True
    if text[end].islower():
        return False
    word = _BEFORE_WORD.split(text[max(0, at - _LONGEST_ABBREVIATION) : at])[-1]
    if word.isdecimal():
        ahead = text[max(0, at - _LONGEST_NUMBERING) : at - len(word)].rpartition("\n")[2]
        return bool(ahead.strip())
    return not (word.isalpha() and len(word) == 1) and word.lower() not in _ABBREVIATIONS
