import io

import pytest

from vectorflow import plugins
from vectorflow.adapters.extractors import code
from vectorflow.domain.documents import MAX_SECTION, Section, SectionKind
from vectorflow.wiring.recipes import detect

LANGUAGES = (
    "bash", "c", "cpp", "csharp", "css", "go", "java", "javascript", "kotlin", "php", "python",
    "ruby", "rust", "scala", "sql", "swift", "tsx", "typescript",
)  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_an_extractor_of_its_name(language: str) -> None:
    extractor = plugins.load("extractors", language)

    assert extractor.language == language
    assert extractor.__module__ == code.__name__
    assert not extractor.sandboxed


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("main.py", "python"),
        ("App.TSX", "tsx"),
        ("lib.d.ts", "typescript"),
        ("index.mjs", "javascript"),
        ("stdio.h", "cpp"),
        ("main.c", "c"),
        ("install.sh", "bash"),
        ("notes.txt", "text"),
        ("settings.toml", "text"),
        ("Makefile", "text"),
        ("README", "text"),
        ("of.no.kind", "text"),
        ("index.rst", "rst"),
        ("README.md", "markdown"),
    ],
)
def test_files_go_by_their_names(name: str, language: str) -> None:
    assert detect(name, b"x = 1\n") == language


def test_source_is_code_of_its_language_as_it_is() -> None:
    source = "def f():\r\n\treturn '\xe9'\n"

    sections = list(code.PythonExtractor().extract(io.BytesIO(source.encode())))

    assert sections == [Section(text=source, start=0, kind=SectionKind.CODE, language="python")]


def test_long_source_is_cut_between_its_blocks() -> None:
    source = "".join(
        f"def f{n}():\n    return {n}  # e.g. this. And that\n\n\n" for n in range(9000)
    )

    sections = list(code.PythonExtractor().extract(io.BytesIO(source.encode())))

    assert len(sections) > 1
    assert all(len(section.text) <= MAX_SECTION for section in sections)
    assert all(section.text.startswith("def f") for section in sections)
    assert "".join(section.text for section in sections) == source
