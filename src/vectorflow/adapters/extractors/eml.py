"""Mails as they travel (RFC 5322, MIME), and mailboxes of several (mbox)."""

import re
from collections.abc import Iterator
from email.errors import MessageError
from email.message import Message
from email.policy import compat32
from itertools import chain, count
from typing import BinaryIO, ClassVar

from vectorflow.adapters._attachment_names import attachment_name
from vectorflow.adapters._blocks import Block, sections
from vectorflow.adapters._html_text import text_of as text_of_html
from vectorflow.adapters._mail import Envelope, body, forwarded_name
from vectorflow.adapters._mail_decoding import date_of, header_text, text_of, unflowed
from vectorflow.adapters._mail_parts import Leaf, children, leaves, mails
from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import BrokenFile, EncryptedFile
from vectorflow.ports.extractor import Extractor

_HEADERS = frozenset(
    {"from", "to", "subject", "date", "received", "message-id", "mime-version", "content-type"}
)
_ENCRYPTED = {"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}
_SIGNATURES = {
    "application/pgp-signature",
    "application/pkcs7-signature",
    "application/x-pkcs7-signature",
}
_META_CHARSET = re.compile(r"<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)


class EmlExtractor(Extractor):
    """Gives the headers that people read, then the text; what is attached are documents.

    Of alternatives the plain text is taken, else the HTML. Pictures that the text shows and
    signatures are left out. The mails of a mailbox follow each other.
    """

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".eml", ".mbox")
    library: ClassVar[str] = "selectolax"

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        found = mails(source)
        first = next(found, None)
        if first is None:
            return
        if _HEADERS.isdisjoint(map(str.lower, first.keys())):
            raise BrokenFile("it does not begin with the headers of a mail")
        second = next(found, None)
        if second is not None:
            mailbox = chain((first, second), found)
            yield from sections(chain.from_iterable(map(_blocks, mailbox)))
            return
        if _is_encrypted(first):
            raise EncryptedFile("the mail is encrypted", fix="decrypt it, then send it again")
        yield from sections(_blocks(first), _envelope(first).properties())


def _is_encrypted(mail: Message) -> bool:
    kind = _parameter(mail, "smime-type").lower()
    return mail.get_content_type() in _ENCRYPTED and kind in {"", "enveloped-data"}


def _blocks(mail: Message) -> Iterator[Block]:
    yield from _envelope(mail).blocks()
    numbers = count(1)
    for leaf in leaves(mail):
        if _is_text(leaf.part):
            if leaf.shown:
                yield body(_text(leaf.part))
        elif not _is_left_out(leaf):
            yield _attached(leaf.part, next(numbers))


def _envelope(mail: Message) -> Envelope:
    def field(name: str) -> str:
        return ", ".join(header_text(value) for value in mail.get_all(name, []))

    return Envelope(
        subject=header_text(mail.get("subject", "")),
        sender=field("from") or field("sender"),
        to=field("to"),
        cc=field("cc"),
        sent=date_of(mail.get("date", "")),
    )


def _is_text(part: Message) -> bool:
    """Tell whether it is what people read in the mail itself."""
    if part.get_content_disposition() == "attachment" or _file_name(part):
        return False
    claims_parts = part.get_content_maintype() == "multipart"
    return claims_parts or part.get_content_type() in {
        "text/plain",
        "text/html",
        "message/delivery-status",
    }


def _is_left_out(leaf: Leaf) -> bool:
    kind, placed = leaf.part.get_content_maintype(), leaf.part.get_content_disposition()
    if leaf.part.get_content_type() in _SIGNATURES:
        return True
    if kind == "text" and not leaf.shown:
        return placed != "attachment"
    in_text = leaf.related or placed == "inline" or (placed is None and "content-id" in leaf.part)
    return kind == "image" and in_text


def _text(part: Message) -> str:
    if inner := children(part):
        return "\n\n".join(_fields(child) for child in inner)
    charset, is_html = _parameter(part, "charset"), part.get_content_type() == "text/html"
    is_flowed = _parameter(part, "format").lower() == "flowed"
    delete_space = _parameter(part, "delsp").lower() == "yes"
    data = _data(part)
    if is_html:
        head = _META_CHARSET.search(data[:2048].decode("latin-1"))
        return text_of_html(text_of(data, charset or (head[1] if head else "")))
    text = text_of(data, charset)
    return unflowed(text, delete_space=delete_space) if is_flowed else text


def _fields(part: Message) -> str:
    return "\n".join(f"{name}: {header_text(value)}" for name, value in part.items())


def _attached(part: Message, number: int) -> Attached:
    own, media_type = _file_name(part), part.get_content_type()
    if not (inner := children(part)):
        return Attached(name=attachment_name(own, number, media_type), data=_data(part))
    if not inner[0].keys():  # it is encoded, which no attached mail may be, but some are
        inner[0]["content-transfer-encoding"] = part.get("content-transfer-encoding", "")
        return Attached(name=attachment_name(own, number, media_type), data=_data(inner[0]))
    subject = header_text(inner[0].get("subject", ""))
    name = own and attachment_name(own, number, media_type)
    return Attached(name=name or forwarded_name(subject, number), data=_written(inner[0]))


def _written(mail: Message) -> bytes:
    """Write an attached mail; the parser of mails keeps none as it came."""
    try:
        return mail.as_bytes(policy=compat32.clone(mangle_from_=False, max_line_length=0))
    except (MessageError, ValueError):
        raise BrokenFile("the headers of an attached mail are broken") from None


def _data(part: Message) -> bytes:
    """Give the bytes of a part, which then forgets of which type it is."""
    del part["content-type"]  # some versions decode by its charset, whatever that is
    decoded: object = part.get_payload(decode=True)
    return decoded if isinstance(decoded, bytes) else b""


def _file_name(part: Message) -> str:
    try:
        return header_text(part.get_filename() or "")
    except ValueError:
        return ""


def _parameter(part: Message, name: str) -> str:
    """Give a parameter of the type of a part; empty where there is none."""
    try:
        value = part.get_param(name, "")
    except ValueError:
        return ""
    return str(value[2] if isinstance(value, tuple) else value)
