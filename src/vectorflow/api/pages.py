"""Lists that are given a page at a time, by cursors that stay good while rows come and go."""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

from vectorflow.api.schemas import MAX_JOB_ID
from vectorflow.errors import InvalidInput

PAGE = 100
MAX_PAGE = 1000

_CURSOR = re.compile(r"([a-z]+):([0-9]{1,19})")


class Numbered(Protocol):
    """A row that a list can go on behind."""

    @property
    def id(self) -> int:
        """Which it is, for good."""
        ...


R = TypeVar("R", bound=Numbered)


def cut(rows: Sequence[R], limit: int, kind: str) -> tuple[Sequence[R], str | None]:
    """Cut a page from rows, of which one more than `limit` was asked for; and give its cursor.

    There is none where nothing follows.
    """
    page = rows[:limit]
    return page, _cursor(kind, page[-1].id) if len(rows) > limit else None


def row_of(cursor: str | None, kind: str) -> int | None:
    """Read behind which row a list goes on; None is its beginning.

    Raises:
        InvalidInput: No page of this list gave that cursor.
    """
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    found = _CURSOR.fullmatch(text)
    if found is None or found[1] != kind or int(found[2]) > MAX_JOB_ID:
        message = "the cursor is not one that this list gave"
        raise InvalidInput(message, fix="send the next_cursor of a page, or none to begin anew")
    return int(found[2])


def _cursor(kind: str, row: int) -> str:
    return base64.urlsafe_b64encode(f"{kind}:{row}".encode()).decode()
