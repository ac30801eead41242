import io
from collections.abc import Mapping
from typing import ClassVar

import pytest

from vectorflow.adapters.extractors.markdown import MarkdownExtractor
from vectorflow.adapters.extractors.text import TextExtractor
from vectorflow.domain.documents import MAX_SECTION, Section
from vectorflow.errors import BinaryContent
from vectorflow.ports.extractor import Extractor
from vectorflow.testing.chunkers import MULTILINGUAL
from vectorflow.testing.extractors import PlainExtractorSuite, Trickle, check_sections

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 4

MARKDOWN = f"""---
title: Sample
# not a heading: yes
---

Before any heading.

Title
=====

{MULTILINGUAL}

## Part `one` ##

```sh
# a comment
```

### Deeper

~~~~
# in a fence
~~~
# still in it
~~~~

Part two
--------

> # quoted

* item
---
    # code
#hashtag
####### seven

| Name | Size |
| ---- | ---: |
| one  | 1    |

After the table.

```py
{"x = 1" * 400}
```
"""


class TestTextExtractor(PlainExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "6dd84986ca316b3d"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return TextExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        return (MULTILINGUAL + "\r\n\r\nand more").encode()

    @pytest.fixture
    def large(self) -> bytes:
        lines = (f"Line {number} of many.\n" + "\n" * (number % 9 == 0) for number in range(40_000))
        return "".join(lines).encode()

    @pytest.fixture
    def broken(self) -> bytes:
        return PNG


class TestMarkdownExtractor(PlainExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {
        1: "2d8b77865650d60f",
        2: "2efc930ebba54b32",
        3: "ccaa277cc54d24ed",
    }

    @pytest.fixture
    def extractor(self) -> Extractor:
        return MarkdownExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        return MARKDOWN.encode()

    @pytest.fixture
    def large(self) -> bytes:
        return b"# One long section\n\n" + b"Words and words.\n\n" * 60_000

    @pytest.fixture
    def broken(self) -> bytes:
        return PNG


def _sections(*bounds: tuple[int, str]) -> list[Section]:
    return [Section(start=start, text=text) for start, text in bounds]


@pytest.mark.parametrize(
    "broken",
    [
        _sections((1, "abc")),
        _sections((0, "abc"), (4, "def")),
        _sections((0, "abc"), (2, "cde")),
        _sections((0, "")),
        _sections((0, "x" * (MAX_SECTION + 1))),
        _sections((0, "caf\ufffd")),
    ],
)
def test_the_suite_finds_broken_extractors(broken: list[Section]) -> None:
    with pytest.raises(AssertionError):
        check_sections(broken)


def test_a_source_in_drops_gives_all_its_bytes() -> None:
    source = Trickle(b"0123456789", (1, 3))

    assert b"".join(iter(source.read, b"")) == b"0123456789"


def test_the_error_names_the_byte() -> None:
    with pytest.raises(BinaryContent, match="byte 8"):
        list(TextExtractor().extract(io.BytesIO(PNG)))
