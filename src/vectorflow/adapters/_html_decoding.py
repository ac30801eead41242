"""Bytes of a web page -> text, whatever encoding it is in or says it is in."""

import codecs
import re

from vectorflow.adapters._text_encodings import guess, marked
from vectorflow.errors import BinaryContent

_HEAD = 4096
"""Bytes in which a declaration is looked for; browsers look at 1,024."""

_SNIFFED = 1 << 16
"""Bytes by which an encoding is guessed that nobody declared."""

_DECLARED = re.compile(
    rb"""<meta\s[^>]*?charset\s*=\s*["']?\s*([\w.:-]+)|<\?xml\s[^>]*?encoding\s*=\s*["']([\w.:-]+)""",
    re.IGNORECASE,
)

_MEANT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
"""Python's names of encodings -> what pages that declare them are really in.

Source: WHATWG, "Encoding", section 4.2.
"""

_BY_ESCAPES = frozenset({"iso2022_jp", "hz"})
"""Encodings whose bytes are all ASCII, and so look like UTF-8."""

_NEVER = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-7"})
"""Codecs of Python that no page is in."""

_LOST = "\ufffd"
_FEW_LOST = 50
"""One character in so many may be lost in an encoding before that is thought wrong."""

_CONTROL = re.compile(r"[\x01-\x08\x0e-\x1a\x1c-\x1f]")


def decoded_page(data: bytes) -> str:
    """Decode a whole page.

    What is valid UTF-8 is taken for it, whatever it says of itself; else what it declares, or what
    its bytes look like. Single bytes that have no meaning there are left out.

    Raises:
        BinaryContent: It is no text.
    """
    text = _marked(data) or _unmarked(data)
    if "\0" in text or len(_CONTROL.findall(text[:_SNIFFED])) * 50 > len(text[:_SNIFFED]):
        raise BinaryContent("control characters, as no page has them")
    return text


def _marked(data: bytes) -> str:
    """Decode what begins with a byte order mark, or is plainly UTF-16."""
    mark, encoding = marked(data)
    if mark:
        return _without_lost(data[len(mark) :].decode(encoding, "replace"))
    if data[:2] == b"<\0":
        return _without_lost(data.decode("utf-16-le", "replace"))
    if data[:2] == b"\0<":
        return _without_lost(data.decode("utf-16-be", "replace"))
    return ""


def _unmarked(data: bytes) -> str:
    declared = _declared(data[:_HEAD])
    if declared not in _BY_ESCAPES:
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass
    if declared:
        text = data.decode(declared, "replace")
        if text.count(_LOST) * _FEW_LOST <= len(text):
            return _without_lost(text)
    return _without_lost(data.decode(_sniffed(data), "replace"))


def _declared(head: bytes) -> str:
    """Give Python's name of the encoding that a page says it is in; empty if it says none."""
    found = _DECLARED.search(head)
    if found is None:
        return ""
    try:
        codec = codecs.lookup((found[1] or found[2]).decode())
        b"a".decode(codec.name)
    except (LookupError, ValueError):  # a page may name any codec, also one that makes no text
        return ""
    return "" if codec.name in _NEVER else _MEANT.get(codec.name, codec.name)


def _sniffed(data: bytes) -> str:
    found = guess(data[:_SNIFFED], whole=len(data) <= _SNIFFED)
    return "cp1252" if found == "utf-8" else found


def _without_lost(text: str) -> str:
    return text.replace(_LOST, "")
