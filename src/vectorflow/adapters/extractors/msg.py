"""Mails as Outlook saves them."""

import struct
from collections.abc import Iterator
from email.header import Header
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime
from itertools import count
from typing import BinaryIO, ClassVar

from vectorflow.adapters._attachment_names import attachment_name
from vectorflow.adapters._blocks import Block, line, sections
from vectorflow.adapters._html_text import text_of as text_of_html
from vectorflow.adapters._mail import Envelope, body, forwarded_name
from vectorflow.adapters._mail_decoding import text_of
from vectorflow.adapters._mail_parts import MAX_DEPTH, MAX_PARTS
from vectorflow.adapters._outlook import Property, Storage, charset_of, unpacked
from vectorflow.adapters._steady_reads import steady
from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import BrokenFile, LimitExceeded
from vectorflow.ports.extractor import Extractor

_TO, _CC = 1, 2
_BOUNDARY = "=_part"
"""No part has it: all are Base64. A random one would give other bytes each time."""


class MsgExtractor(Extractor):
    """Gives what the extractor of other mails gives.

    A message that is attached becomes a mail of the other type. A body that is nothing but RTF is
    attached, as `body.rtf`.
    """

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".msg",)
    library: ClassVar[str] = "olefile"

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        from olefile import OleFileIO  # noqa: PLC0415 - takes time to import

        with steady(source) as file:
            if not file.peek(1):
                return
            try:
                with OleFileIO(file) as compound:
                    message = Storage(compound)
                    if not message.exists():
                        raise BrokenFile("it is no message of Outlook")
                    yield from sections(_blocks(message), _envelope(message).properties())
            except (OSError, ValueError, LookupError, struct.error, RecursionError):
                raise BrokenFile("the mail is damaged or cut short") from None


def _blocks(message: Storage) -> Iterator[Block]:
    yield from _envelope(message).blocks()
    text = _text(message)
    yield body(text)
    yield from _attached(message, text, 0)


def _envelope(message: Storage) -> Envelope:
    recipients = list(message.recipients())
    address = message.text(Property.SENDER_SMTP_ADDRESS) or message.text(Property.SENDER_ADDRESS)
    return Envelope(
        subject=message.text(Property.SUBJECT),
        sender=_person(message.text(Property.SENDER_NAME), address),
        to=_people(recipients, _TO),
        cc=_people(recipients, _CC),
        sent=message.instant(Property.SUBMITTED) or message.instant(Property.DELIVERED),
    )


def _people(recipients: list[Storage], kind: int) -> str:
    return ", ".join(
        _person(
            one.text(Property.DISPLAY_NAME),
            one.text(Property.SMTP_ADDRESS) or one.text(Property.ADDRESS),
        )
        for one in recipients
        if one.number(Property.RECIPIENT_TYPE) == kind
    )


def _person(name: str, address: str) -> str:
    """Write as in other mails; addresses inside of Exchange say nothing to readers."""
    name = name.strip("'\" ")
    if "@" not in address or address == name:
        return name
    return f"{name} <{address}>" if name else address


def _text(message: Storage) -> str:
    if text := message.text(Property.BODY):
        return text
    html = message.data(Property.HTML)
    charset = charset_of(message.number(Property.BODY_CODE_PAGE))
    return text_of_html(text_of(html, charset) or message.text(Property.HTML))


def _attached(message: Storage, text: str, depth: int) -> Iterator[Attached]:
    if depth > MAX_DEPTH:
        raise LimitExceeded("depth", f"mails are attached to each other more than {MAX_DEPTH} deep")
    if not text and (rtf := unpacked(message.data(Property.RTF))):
        yield Attached(name="body.rtf", data=rtf)
    numbers = count(1)
    for part in message.attachments():
        number = next(numbers)
        if number > MAX_PARTS:
            raise LimitExceeded("entries", f"the mail has more than {MAX_PARTS} attachments")
        media_type = part.text(Property.MEDIA_TYPE)
        if inner := part.message():
            subject = inner.text(Property.SUBJECT) or part.text(Property.DISPLAY_NAME)
            yield Attached(name=forwarded_name(subject, number), data=_as_mail(inner, depth + 1))
        elif not (media_type.startswith("image/") and part.text(Property.CONTENT_ID)):
            name = part.text(Property.FILE_NAME) or part.text(Property.SHORT_FILE_NAME)
            data = part.data(Property.DATA)
            yield Attached(name=attachment_name(name, number, media_type), data=data)


def _as_mail(message: Storage, depth: int) -> bytes:
    """Write a message as a mail of the other type."""
    envelope, text = _envelope(message), _text(message)
    mail = MIMEMultipart(boundary=_BOUNDARY)
    fields = {"From": envelope.sender, "To": envelope.to, "Cc": envelope.cc}
    for name, value in {"Subject": envelope.subject, **fields}.items():
        if value:
            mail[name] = Header(line(value), "utf-8").encode(maxlinelen=0)
    if envelope.sent:
        mail["Date"] = format_datetime(envelope.sent)
    mail.attach(MIMEText(body(text).text, "plain", "utf-8"))
    for attached in _attached(message, text, depth):
        part = MIMEApplication(attached.data)
        part.add_header("Content-Disposition", "attachment", filename=("utf-8", "", attached.name))
        mail.attach(part)
    return mail.as_bytes()
