"""Workbooks of Excel before 2007."""

from collections.abc import Iterator
from typing import BinaryIO, ClassVar

from vectorflow.adapters._blocks import sections
from vectorflow.adapters._whole import whole
from vectorflow.adapters._workbooks import MAX_WORKBOOK, workbook_blocks
from vectorflow.domain.documents import Attached, Section
from vectorflow.ports.extractor import Extractor


class XlsExtractor(Extractor):
    """Gives a table for each sheet, below a heading of its name; formulas as their last results."""

    revision: ClassVar[int] = 1
    library: ClassVar[str] = "python_calamine"
    suffixes: ClassVar[tuple[str, ...]] = (".xls", ".xlt")

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        if data := whole(source, MAX_WORKBOOK):
            yield from sections(workbook_blocks(data))
