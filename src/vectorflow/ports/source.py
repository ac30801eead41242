"""The port `source`: where raw files come from."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from vectorflow.domain.documents import Listed


class Source(Protocol):
    """Lists and opens raw files. Runs in a worker thread."""

    scope: str | None
    """The part of the source that one run lists completely; None if a run can never know."""

    @abstractmethod
    def list(self) -> Iterator[Listed]:
        """Give every document, each external id once, in any order.

        What cannot be read is listed with its `failure`, so that the listing is known to be
        incomplete and nothing that merely hides behind it is retired.
        """
        ...

    @abstractmethod
    def open(self, listed: Listed) -> BinaryIO:
        """Open one document for reading from its start.

        Raises:
            UnreadableSource: It vanished or may not be read.
        """
        ...
