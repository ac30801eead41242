"""Fields of word processors: instructions, and the text that they gave when last they ran."""

import re
from dataclasses import dataclass

_NAME = re.compile(r"\s*(\w+)")
_LONGEST_NAME = 100
"""Characters of an instruction that are kept: its name comes first."""

_LEFT_OUT = frozenset({"TOC", "TOA", "INDEX", "PAGE", "NUMPAGES", "SECTIONPAGES"})
"""Lists of what stands elsewhere too, and numbers of pages."""


@dataclass(slots=True)
class _Field:
    instruction: str = ""
    in_text: bool = False
    wanted: bool = True


class Fields:
    """The fields that are open at one place of a document; one may lie in another."""

    def __init__(self) -> None:
        self._open: list[_Field] = []
        self.quiet = False
        """Whether what comes here is no text of the document."""

    def begin(self) -> None:
        """Open a field: instructions follow."""
        self._open.append(_Field())
        self.quiet = True

    def instruct(self, instruction: str) -> None:
        """Read a piece of an instruction."""
        if self._open and not self._open[-1].in_text:
            field = self._open[-1]
            field.instruction = (field.instruction + instruction)[:_LONGEST_NAME]

    def separate(self) -> None:
        """End the instruction: text follows."""
        if self._open:
            field = self._open[-1]
            name = _NAME.match(field.instruction)
            field.in_text = True
            field.wanted = name is None or name[1].upper() not in _LEFT_OUT
            self._listen()

    def end(self) -> None:
        """Close the innermost field."""
        if self._open:
            self._open.pop()
            self._listen()

    def end_paragraph(self) -> None:
        """Close fields whose instructions did not end, lest a damaged one swallow the rest."""
        if self.quiet:
            self._open = [field for field in self._open if field.in_text]
            self._listen()

    def close(self) -> None:
        """Close all."""
        self._open.clear()
        self.quiet = False

    def _listen(self) -> None:
        self.quiet = any(not field.in_text or not field.wanted for field in self._open)
