"""The port `extractor`: bytes -> the text of a document with its structure."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import BinaryIO, ClassVar, Protocol

from vectorflow.domain.documents import Section


class Extractor(Protocol):
    """Reads one type of file. Runs in a worker thread, never on an event loop."""

    revision: ClassVar[int]
    """Raised by one whenever the output for any input changes."""

    suffixes: ClassVar[tuple[str, ...]]
    """File name endings it is meant for, in lower case, with the dot."""

    @abstractmethod
    def extract(self, source: BinaryIO) -> Iterator[Section]:
        """Give the document section by section, in order and without gaps.

        The same bytes give the same sections. No section is longer than `MAX_SECTION` characters;
        memory stays bounded by it whatever the size of the source. Reading stops when the iterator
        is closed. An empty source gives no section.

        Raises:
            DocumentFailed: The bytes are not of this type, or there is no text to be had.
        """
        ...
