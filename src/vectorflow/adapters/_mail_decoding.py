"""Bytes and headers of mails -> text, whatever charset they claim."""

import codecs
import re
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header
from email.utils import parsedate_to_datetime
from io import BytesIO

from vectorflow.adapters._text_decoding import decoded
from vectorflow.errors import BinaryContent

_MEANT = {
    "big5": "big5hkscs",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "shift_jis": "cp932",
}
"""What senders mean by a charset: the larger one of Windows. Source: WHATWG Encoding Standard."""

_NO_CHARSETS = frozenset(
    {"charmap", "idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
    | {"base64", "bz2", "hex", "quopri", "rot-13", "uu", "zlib"}
)
"""Codecs of Python that no mail may name: some are slow, some read escapes."""

_WESTERN = ("cp125", "iso8859")

_FOLDS = re.compile(r"[ \t]*[\r\n]+[ \t]*")


def text_of(data: bytes, charset: str = "") -> str:
    """Decode the text of a mail by its charset; by what the bytes say where that cannot be.

    UTF-8 that claims to be Western is UTF-8: Western text that could be both is not written.
    """
    codec = _codec(charset)
    for name in ("utf-8", codec) if codec.startswith(_WESTERN) else (codec or "utf-8", "utf-8"):
        try:
            return data.decode(name).removeprefix("\ufeff")
        except UnicodeDecodeError:
            continue
    try:
        return "".join(decoded(BytesIO(data)))
    except BinaryContent:  # some of it may be read yet
        return data.decode(codec or "utf-8", "ignore")


def header_text(value: str) -> str:
    """Decode a header, in one line; what is not encoded as it should be stays as it is."""
    raw = _FOLDS.sub(" ", value).encode("utf-8", "surrogateescape")
    text = text_of(raw)
    if "=?" not in text:
        return text.strip()
    try:
        words = decode_header(text)
    except (HeaderParseError, ValueError):
        return text.strip()
    return "".join(_word(word, charset) for word, charset in words).strip()


def date_of(value: str) -> datetime | None:
    """Read the date of a header; None where it is none."""
    try:
        return parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _word(word: bytes | str, charset: str | None) -> str:
    if isinstance(word, str):
        return word
    if charset is not None:
        return text_of(word, charset)
    try:
        return word.decode("raw-unicode-escape")  # which is how `decode_header` wrote it
    except UnicodeDecodeError:
        return word.decode("latin-1")


def _codec(charset: str) -> str:
    """Name the codec of a charset; empty where there is none."""
    try:
        name = codecs.lookup(charset.lower().removesuffix("-i")).name
    except (LookupError, ValueError):
        return ""
    return "" if name in _NO_CHARSETS else _MEANT.get(name, name)


def unflowed(text: str, *, delete_space: bool) -> str:
    """Join the lines of paragraphs that were broken to travel (RFC 3676)."""
    paragraphs: list[list[str]] = []
    depth: int | None = None
    """Quote marks of the paragraph that goes on; None where none does."""
    for line in text.replace("\r\n", "\n").split("\n"):
        quotes = len(line) - len(line.lstrip(">"))
        words = line[quotes:].removeprefix(" ")
        is_signature = words == "-- "
        goes_on = words.endswith(" ") and not is_signature
        if depth != quotes or is_signature:
            paragraphs.append([">" * quotes + " " * (quotes > 0)])
        paragraphs[-1].append(words[:-1] if goes_on and delete_space else words)
        depth = quotes if goes_on else None
    return "\n".join("".join(paragraph) for paragraph in paragraphs)
