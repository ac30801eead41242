"""Workbooks of Excel since 2007, and of other programs that write such."""

from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, ClassVar

from vectorflow.adapters._blocks import sections
from vectorflow.adapters._ooxml import package
from vectorflow.adapters._whole import whole
from vectorflow.adapters._workbooks import MAX_WORKBOOK, workbook_blocks
from vectorflow.domain.documents import Attached, Section
from vectorflow.ports.extractor import Extractor


class XlsxExtractor(Extractor):
    """Gives a table for each sheet, below a heading of its name; formulas as their last results."""

    revision: ClassVar[int] = 1
    library: ClassVar[str] = "python_calamine"
    suffixes: ClassVar[tuple[str, ...]] = (".xlsx", ".xlsm", ".xltx", ".xltm")

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        data = whole(source, MAX_WORKBOOK)
        with package(BytesIO(data)) as opened:
            properties = opened.properties if opened else {}
        if data:
            yield from sections(workbook_blocks(data), properties)
