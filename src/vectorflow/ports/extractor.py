"""The port `extractor`: bytes -> the text of a document with its structure."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import BinaryIO, ClassVar, Protocol, runtime_checkable

from vectorflow.domain.documents import Attached, Section


class Extractor(Protocol):
    """Reads one type of file. Runs in a thread or a process of its own, never on an event loop."""

    revision: ClassVar[int]
    """Raised by one whenever the output for any input changes."""

    suffixes: ClassVar[tuple[str, ...]]
    """File name endings it is meant for, in lower case, with the dot."""

    library: ClassVar[str] = ""
    """Module that it imports when it is first used; empty where it needs none."""

    sandboxed: ClassVar[bool] = True
    """Whether bytes of strangers could crash, hang or explode it: then it runs in a child.

    False is for what decodes text as it comes, in bounded memory and linear time.
    """

    @abstractmethod
    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        """Give the document section by section, in order and without gaps.

        What is attached to it comes in between, each a document of its own. The same bytes give
        the same sections. No section is longer than `MAX_SECTION` characters; memory stays bounded
        by it whatever the size of the source, unless the type can only be read whole. Reading stops
        when the iterator is closed. An empty source gives no section.

        Args:
            source: Can be read from once; one of a `sandboxed` extractor can be sought in too.

        Raises:
            DocumentFailed: The bytes are not of this type, or there is no text to be had.
        """
        ...


@runtime_checkable
class GroupExtractor(Extractor, Protocol):
    """Reads several small documents for less than one at a time would cost."""

    @abstractmethod
    def extract_each(self, sources: Sequence[BinaryIO]) -> Iterator[Iterator[Section | Attached]]:
        """Give the documents, one after the other; what one raises concerns no other.

        Each iterator is read, or closed, before the next one is asked for.
        """
        ...
