from collections.abc import Mapping
from typing import ClassVar

import pytest

from vectorflow.adapters.extractors.code import PythonExtractor
from vectorflow.adapters.extractors.rst import RstExtractor
from vectorflow.ports.extractor import Extractor
from vectorflow.testing.chunkers import MULTILINGUAL
from vectorflow.testing.extractors import PlainExtractorSuite

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 4

RST = f"""Before any heading.

=====
Title
=====

{MULTILINGUAL}

Part ``one``
============

.. code-block:: python

    Not a title
    -----------

- item

----------

Deeper
------

=====  =====
A      B
=====  =====
1      2
=====  =====

Part two
========

The end::

    literal
"""

PYTHON = '''"""A module."""

import sys


class Greeter:
    def greet(self, name: str) -> str:
        return f"Grüße, {name}!\\t日本語"


def main() -> None:
    sys.stdout.write(Greeter().greet("you"))
'''


class TestRstExtractor(PlainExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "909dc10e41c43d16"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return RstExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        return RST.encode()

    @pytest.fixture
    def large(self) -> bytes:
        return b"One long section\n================\n\n" + b"Words and words.\n\n" * 60_000

    @pytest.fixture
    def broken(self) -> bytes:
        return PNG


class TestPythonExtractor(PlainExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "bad3cf675d9507bb"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return PythonExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        return (PYTHON * 4).encode()

    @pytest.fixture
    def large(self) -> bytes:
        return b"".join(b"def f%d():\n    return %d\n\n\n" % (n, n) for n in range(30_000))

    @pytest.fixture
    def broken(self) -> bytes:
        return PNG
