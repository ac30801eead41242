import importlib.util
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from textwrap import dedent

import pytest

from vectorflow.adapters import _syntax_trees
from vectorflow.adapters.chunkers.code import CodeChunker
from vectorflow.adapters.chunkers.default import DefaultChunker
from vectorflow.domain.documents import Section, SectionKind
from vectorflow.domain.pipelines import Chunking
from vectorflow.testing.chunkers import MakeChunker, PieceTokenizer, chunks_of


def _cut(text: str, language: str, size: int, make: MakeChunker = CodeChunker) -> list[str]:
    chunker = make(PieceTokenizer(), Chunking(chunker="code", size=size, overlap=size // 8))
    section = Section(text=text, start=0, kind=SectionKind.CODE, language=language)
    return chunks_of(section, chunker.chunk(section))


PYTHON = dedent('''\
    """A module."""

    import os

    LIMIT = 3


    # Adds, as
    # it says.
    @cache
    def add(one, other):
        """Add."""
        return one + other


    class Shape:
        """Has sides."""

        sides = 0

        def area(self):
            # nothing yet
            raise NotImplementedError

        async def paint(self, color):
            await self.brush.dip(color)
            for side in range(self.sides):
                self.brush.stroke(side)
    ''')


def test_whole_functions_and_classes_are_joined_as_they_fit() -> None:
    chunks = _cut(PYTHON, "python", 50)

    assert [chunk.splitlines()[0] for chunk in chunks] == [
        '"""A module."""',
        "# Adds, as",
        "class Shape:",
        "async def paint(self, color):",
    ]


def test_comments_and_decorators_stay_with_what_follows() -> None:
    chunks = _cut(PYTHON, "python", 36)

    [add] = [chunk for chunk in chunks if "def add" in chunk]
    assert add.startswith("# Adds, as\n# it says.\n@cache\ndef add")


def test_a_comment_before_a_blank_line_may_stand_alone() -> None:
    text = "# licence of this\n\n# of f\ndef f():\n    return 1\n"

    assert _cut(text, "python", 12) == ["# licence of this", text.partition("\n\n")[2].rstrip()]


def test_a_function_that_does_not_fit_is_cut_between_its_statements() -> None:
    text = "def f(x):\n" + "".join(
        f"    if x == {n}:\n        y = g(\n            {n}, {n}\n        )\n" for n in range(6)
    )

    chunks = _cut(text, "python", 30)

    assert len(chunks) > 3
    assert all(chunk.startswith("if x") for chunk in chunks[1:])


def test_a_string_that_does_not_fit_is_cut_all_the_same() -> None:
    text = 'x = """\n' + "some words of it\n" * 30 + '"""\n'

    assert len(_cut(text, "python", 20)) > 5


# ruff: noqa: E501 - a function a line
FUNCTIONS: Mapping[str, str] = {
    "bash": "# Say {n}.\nsay_{n}() {{\n  echo {n}\n  echo again\n}}\n",
    "c": "/* Say {n}. */\nint say_{n}(int a) {{\n  puts(a);\n  return {n};\n}}\n",
    "cpp": "// Say {n}.\ntemplate <class T>\nT say_{n}(T a) {{\n  return a + {n};\n}}\n",
    "csharp": "// Say {n}.\n[Old]\nclass Say{n} {{\n  int A() {{\n    return {n};\n  }}\n}}\n",
    "go": "// Say {n}.\nfunc say{n}(a int) int {{\n\tb := a\n\treturn b + {n}\n}}\n",
    "java": "// Say {n}.\n@Old\nclass Say{n} {{\n  int a() {{\n    return {n};\n  }}\n}}\n",
    "javascript": "// Say {n}.\nexport function say{n}(a) {{\n  const b = a;\n  return b + {n};\n}}\n",
    "php": "// Say {n}.\nfunction say{n}($a) {{\n  $b = $a;\n  return $b + {n};\n}}\n",
    "python": "# Say {n}.\n@old\ndef say_{n}(a):\n    b = a\n    return b + {n}\n",
    "ruby": "# Say {n}.\ndef say_{n}(a)\n  b = a\n  b + {n}\nend\n",
    "rust": "/// Says {n}.\n#[inline]\nfn say_{n}(a: i32) -> i32 {{\n    let b = a;\n    b + {n}\n}}\n",
    "tsx": "// Say {n}.\nconst Say{n} = (a: A) => {{\n  const b = a;\n  return <b>{{b}}</b>;\n}};\n",
    "typescript": "// Say {n}.\nfunction say{n}(a: number): number {{\n  const b = a;\n  return b;\n}}\n",
}


def test_every_grammar_has_an_example() -> None:
    assert FUNCTIONS.keys() == _syntax_trees.GRAMMARS.keys() == set(CodeChunker.languages)


@pytest.mark.parametrize("language", FUNCTIONS)
@pytest.mark.parametrize("between", ["", "\n"])
def test_every_language_is_cut_between_functions_with_what_leads_them(
    language: str, between: str
) -> None:
    parts = [FUNCTIONS[language].format(n=n) + between for n in range(12)]
    begin = "<?php\n" if language == "php" else ""

    chunks = _cut(begin + "".join(parts), language, 70)

    assert len(chunks) > 2
    left = begin + "".join(parts)
    for chunk in chunks:
        assert left.startswith(chunk)
        left = left.removeprefix(chunk).lstrip()
        assert not left or left in {"".join(parts[n:]) for n in range(12)}


@pytest.mark.parametrize(("name", "same"), [("py", "python"), ("c++", "cpp"), ("sh", "bash")])
def test_languages_have_the_names_that_people_write(name: str, same: str) -> None:
    text = "".join(FUNCTIONS[same].format(n=n) for n in range(12))

    assert _cut(text, name, 70) == _cut(text, same, 70)


@pytest.mark.parametrize("language", FUNCTIONS)
@pytest.mark.parametrize(
    "text", ["}}}{{{((( def class {", "\0\ud800 é" * 99, "(" * 20_000, "<a>" * 5_000, "/*" * 9_000]
)
def test_code_that_is_none_is_cut_all_the_same(language: str, text: str) -> None:
    chunks = _cut(text, language, 60)

    assert "".join("".join(chunks).split()) == "".join(text.split())


@pytest.mark.parametrize("make", [CodeChunker, DefaultChunker])
def test_an_unknown_language_is_cut_between_lines(make: MakeChunker) -> None:
    text = "".join(f"10 PRINT {n}\n20 GOTO 10\n" for n in range(20))

    chunks = _cut(text, "basic", 24, make)

    assert len(chunks) > 3
    assert [line for chunk in chunks for line in chunk.splitlines()] == text.splitlines()
    assert chunks == _cut(text, "", 24, make)


def test_without_the_library_code_is_cut_between_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "tree_sitter" else real(name, package)

    real = importlib.util.find_spec
    monkeypatch.setattr("vectorflow.adapters._code_cuts.find_spec", find_spec)

    text = "".join(FUNCTIONS["python"].format(n=n) for n in range(12))

    chunks = _cut(text, "python", 70, DefaultChunker)

    assert chunks == _cut(text, "", 70)
    assert [line for chunk in chunks for line in chunk.split("\n")][:2] == ["# Say 0.", "@old"]
    assert not all(chunk.startswith("# Say") for chunk in chunks)


def test_what_takes_too_long_to_parse_is_cut_between_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_syntax_trees, "LONGEST_SECONDS", -1.0)
    text = "".join(FUNCTIONS["python"].format(n=n) for n in range(60))

    assert _cut(text, "python", 70) == _cut(text, "", 70)
