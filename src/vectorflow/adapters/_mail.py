"""How a mail of any format is written as blocks."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from vectorflow.adapters._attachment_names import attachment_name
from vectorflow.adapters._blocks import Block, Heading, Text, line

_MANY_RECIPIENTS = 1000
"""Characters; further recipients are in the text, but not on every record."""

_LOST = "\N{REPLACEMENT CHARACTER}"
_NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|]+')


class Envelope(NamedTuple):
    """The headers of a mail that people read, decoded; empty where there is none."""

    subject: str = ""
    sender: str = ""
    to: str = ""
    cc: str = ""
    sent: datetime | None = None

    def blocks(self) -> Iterator[Block]:
        """Write them as text, the subject as a heading."""
        rows = {"From": self.sender, "To": self.to, "Cc": self.cc, "Date": self._date()}
        yield Heading(1, self.subject)
        yield Text("\n".join(f"{name}: {line(value)}" for name, value in rows.items() if value))

    def properties(self) -> dict[str, str]:
        """Say what is kept on every record."""
        return {
            "title": self.subject,
            "author": self.sender,
            "created": self._date(),
            "to": _shortened(self.to),
            "cc": _shortened(self.cc),
        }

    def _date(self) -> str:
        return "" if self.sent is None else self.sent.replace(microsecond=0).isoformat()


def body(text: str) -> Text:
    """Write the text of a mail: its lines end in one way, and lost characters are left out."""
    return Text(text.replace("\r\n", "\n").replace("\r", "\n").replace(_LOST, "").strip())


def forwarded_name(subject: str, number: int) -> str:
    """Call an attached mail by its subject."""
    words = _NOT_IN_NAMES.sub(" ", subject).strip(". ")
    return attachment_name(f"{words}.eml" if words else "", number, "message/rfc822")


def _shortened(recipients: str) -> str:
    if len(recipients) <= _MANY_RECIPIENTS:
        return recipients
    return recipients[:_MANY_RECIPIENTS].rpartition(",")[0] + ", …"
