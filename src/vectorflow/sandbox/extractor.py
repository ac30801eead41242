"""Extractors that run in a child."""

import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import BinaryIO, ClassVar

from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import LimitExceeded, Unavailable
from vectorflow.ports.extractor import Extractor, GroupExtractor
from vectorflow.sandbox.documents import Document, handed_over, handed_over_at_once
from vectorflow.sandbox.limits import Limits, too_much_output
from vectorflow.sandbox.pool import Pool
from vectorflow.sandbox.process import Child, ChildDied, crashed

log = logging.getLogger(__name__)


@asynccontextmanager
async def sandboxed(pool: Pool, extractor: type[Extractor]) -> AsyncGenerator[Extractor]:
    """Lend an extractor of a class, for one document at a time, that works in a child.

    Waits until fewer children are busy than the pool may have. Whatever is still being extracted at
    the end is broken off, also in another thread.
    """
    async with pool.turns:
        lent = SandboxedExtractor(pool, f"{extractor.__module__}:{extractor.__qualname__}")
        try:
            yield lent
        finally:
            lent.break_off()


class SandboxedExtractor(GroupExtractor):
    """Stands for an extractor of a child, which has the revision and the suffixes."""

    revision: ClassVar[int] = 0
    suffixes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, pool: Pool, extractor: str) -> None:
        """Take the class, `module:Class`."""
        self._pool = pool
        self._extractor = extractor
        self._child: Child | None = None
        self._is_broken_off = False

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        """See the port.

        A child that had other documents before may have died of them: then the document is tried
        once more in a fresh one, which goes on after what was given already.

        Raises:
            LimitExceeded: The document takes more than it may.
            ExtractorCrashed: The child died.
            Unavailable: No child can be started, or the pool was closed meanwhile.
        """
        with handed_over(self._extractor, source) as document:
            yield from self._alone(document, _Passed(self._pool.limits))

    def extract_each(self, sources: Sequence[BinaryIO]) -> Iterator[Iterator[Section | Attached]]:
        """See the port. A child is handed several documents at once, if they are small.

        When it dies of one of them, nobody knows of which: those that are not through are extracted
        one by one then.
        """
        for documents in handed_over_at_once(self._extractor, sources):
            yield from self._together(documents)

    def _together(self, documents: Sequence[Document]) -> Iterator[Iterator[Section | Attached]]:
        group = _Group(self._pool, documents)
        self._child = group.child
        try:
            if self._is_broken_off:
                group.child.kill()
            group.begin()
            for document in documents:
                yield self._one_of(group, document)
        finally:
            self._child = None
            group.end()

    def _one_of(self, group: "_Group", document: Document) -> Iterator[Section | Attached]:
        passed = _Passed(self._pool.limits)
        try:
            yield from group.next(passed)
        except ChildDied:
            group.end()
            self._pool.check_open()
            if self._is_broken_off:
                raise Unavailable("the extraction was broken off") from None
            yield from self._alone(document, passed)

    def _alone(self, document: Document, passed: "_Passed") -> Iterator[Section | Attached]:
        child = self._pool.take()
        while True:
            try:
                yield from self._pieces(child, document, passed)
            except ChildDied as death:
                self._pool.check_open()
                if not self._is_broken_off:
                    self._note(death)
                if child.documents == 0 or self._is_broken_off or _is_its_own(death):
                    raise death.verdict from None
                child = self._pool.take(fresh=True)
            else:
                return

    def break_off(self) -> None:
        """End the child that is at work for this, if there is one; from any thread."""
        self._is_broken_off = True
        child = self._child
        if child is not None:
            child.kill()

    def _pieces(
        self, child: Child, document: Document, passed: "_Passed"
    ) -> Iterator[Section | Attached]:
        self._child = child
        try:
            if self._is_broken_off:
                child.kill()
            child.begin(document)
            yield from passed.on(child)
        finally:
            self._child = None
            self._pool.give_back(child)

    def _note(self, death: ChildDied) -> None:
        log.warning(
            "extractor_died",
            extra={
                "extractor": self._extractor,
                "verdict": str(death),
                "error": death.verdict.code,
            },
        )


def _is_its_own(death: ChildDied) -> bool:
    """Tell whether documents before cannot be to blame: CPU time is counted for each anew."""
    return isinstance(death.verdict, LimitExceeded) and death.verdict.limit == "cpu"


class _Group:
    """Documents that a child is handed at once."""

    def __init__(self, pool: Pool, documents: Sequence[Document]) -> None:
        self.child = pool.take()
        self._pool = pool
        self._documents = documents
        self._is_well = False
        """Whether the next piece of the child is the first one of the next document."""
        self._has_ended = False

    def begin(self) -> None:
        try:
            self.child.begin_each(self._documents)
        except ChildDied:
            return
        self._is_well = True

    def next(self, passed: "_Passed") -> Iterator[Section | Attached]:
        """Pass on the next document.

        Raises:
            ChildDied: Over this or another document, perhaps long ago.
        """
        if not self._is_well:
            raise ChildDied(crashed("it was lost over another document"))
        left = self.child.waiting - 1
        self._is_well = False
        try:
            yield from passed.on(self.child)
        finally:
            self._is_well = self.child.waiting == left

    def end(self) -> None:
        """Give the child back; it is ended if it still has documents."""
        if not self._has_ended:
            self._has_ended = True
            self._is_well = False
            self._pool.give_back(self.child)


class _Passed:
    """What was passed on of a document so far."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pieces = 0
        self._end = 0
        """Where the next section begins."""

    def on(self, child: Child) -> Iterator[Section | Attached]:
        """Pass on what a child gives, but for what another one has given already.

        Raises:
            ChildDied: Also if what it gives is not what the other one gave.
        """
        number = end = output = 0
        while piece := child.next():
            output += len(piece.text if isinstance(piece, Section) else piece.data)
            if output > self._limits.output:
                raise too_much_output(self._limits)
            if isinstance(piece, Section):
                if piece.start != end:
                    raise ChildDied(crashed("its sections do not follow each other"))
                end += len(piece.text)
            number += 1
            if number <= self._pieces:
                continue
            if isinstance(piece, Section) and piece.start != self._end:
                raise ChildDied(crashed("it gave other text the second time"))
            self._pieces, self._end = number, end
            yield piece
