from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.adapters.chunkers.custom import is_custom, load
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.errors import BadChunk, InvalidInput
from vectorflow.testing.chunkers import PieceTokenizer, check_spans, chunks_of, texts


def _write(folder: Path, body: str) -> str:
    path = folder / "mine.py"
    path.write_text(dedent(body), encoding="utf-8")
    load.cache_clear()
    return f"{path}:cut"


def _cut(name: str, text: str, size: int = 20) -> list[str]:
    chunker = load(name)(PieceTokenizer(), Chunking(chunker=name, size=size, overlap=0))
    section = Section(text=text, start=0)
    spans = chunker.chunk(section)
    check_spans(section, spans, PieceTokenizer(), size)
    return chunks_of(section, spans)


def _returns(folder: Path, expression: str) -> str:
    return _write(folder, f"def cut(text):\n    return {expression}\n")


@pytest.mark.parametrize(
    "expression",
    [
        "[(0, 3), (3, 7), (7, 11)]",
        "[[0, 3], [4, 7], [8, 11]]",
        "text.split()",
        "iter(['one', ' two ', 'tri'])",
    ],
)
def test_a_function_cuts_by_bounds_or_by_pieces(tmp_path: Path, expression: str) -> None:
    name = _returns(tmp_path, expression)

    assert _cut(name, "one two tri") == ["one", "two", "tri"]


def test_a_generator_cuts_too_and_pieces_may_repeat_and_overlap(tmp_path: Path) -> None:
    name = _write(
        tmp_path,
        """\
        def cut(text):
            yield "a b"
            yield "b a"
            yield "a b a"
        """,
    )

    assert _cut(name, "a b a b a") == ["a b", "b a", "a b a"]
    assert _cut(_returns(tmp_path, "['a', 'a', 'a']"), "a a a") == ["a", "a", "a"]


@given(text=texts())
def test_pieces_are_found_where_they_are(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    name = _returns(tmp_path_factory.mktemp("mine"), "text.split()")

    assert _cut(name, text, size=10_000) == text.split()


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("[(0, 3)]", "are in no chunk"),
        ("[(4, 7), (0, 11)]", "begins or ends before"),
        ("[(0, 11), (4, 7)]", "begins or ends before"),
        ("[(0, 99)]", "not in the text"),
        ("[(3, 0)]", "not in the text"),
        ("['one', 'four']", "not in the text"),
        ("['tri', 'one']", "not in the text"),
        ("[None]", "neither text nor two numbers"),
        ("[(0.0, 11.0)]", "neither text nor two numbers"),
        ("[]", "are in no chunk"),
        ("None", "TypeError"),
        ("1 / 0", "ZeroDivisionError in line 2 of mine.py"),
    ],
)
def test_a_function_that_breaks_the_laws_fails_the_document(
    tmp_path: Path, expression: str, message: str
) -> None:
    name = _returns(tmp_path, expression)

    with pytest.raises(BadChunk, match=message) as caught:
        _cut(name, "one two tri")

    assert caught.value.fix
    assert "mine.py:cut" in str(caught.value)


def test_a_chunk_that_is_too_large_is_refused_with_both_figures(tmp_path: Path) -> None:
    name = _returns(tmp_path, "[text]")

    with pytest.raises(BadChunk, match="chunk of 30 tokens, 20 are allowed") as caught:
        _cut(name, "w " * 30)

    assert caught.value.position == 0


def test_what_the_function_raises_is_not_told_further(tmp_path: Path) -> None:
    name = _write(tmp_path, "def cut(text):\n    raise ValueError(text)\n")

    with pytest.raises(BadChunk) as caught:
        _cut(name, "secret words")

    error: BaseException | None = caught.value
    assert "secret" not in str(error)
    assert error is not None
    assert error.__suppress_context__
    assert error.__cause__ is None


def test_white_space_alone_is_not_shown_to_the_function(tmp_path: Path) -> None:
    assert _cut(_returns(tmp_path, "1 / 0"), " \n") == []


def test_an_edit_of_the_file_is_another_revision(tmp_path: Path) -> None:
    first = load(_returns(tmp_path, "[text]")).revision
    same = load(_returns(tmp_path, "[text]")).revision
    other = load(_returns(tmp_path, "[text ]")).revision

    assert first == same != other
    assert 0 <= first < 2**53


@pytest.mark.parametrize(
    ("body", "name", "message"),
    [
        ("def cut(text): ...", "{}/other.py:cut", "cannot be read"),
        ("def cut(text): ...", "{}/mine.py:cutt", "has no function 'cutt'"),
        ("cut = 3", "{}/mine.py:cut", "has no function 'cut'"),
        ("def cut(text:", "{}/mine.py:cut", "SyntaxError in line 1"),
        ("x = 1\nx / 0", "{}/mine.py:cut", "ZeroDivisionError in line 2"),
        ("", "no_such_module:cut", "no Python module 'no_such_module'"),
        ("", "no_such.module:cut", "no Python module"),
        ("", ":cut", "no Python module"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    tmp_path: Path, body: str, name: str, message: str
) -> None:
    _write(tmp_path, body)

    with pytest.raises(InvalidInput, match=message) as caught:
        load(name.format(tmp_path))

    assert caught.value.fix


def test_a_module_that_is_installed_may_have_the_function() -> None:
    chunker = load("textwrap:wrap")

    assert chunker.revision == load("textwrap:wrap").revision
    assert _cut("textwrap:wrap", "one two tri") == ["one two tri"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("default", False),
        ("sentences_by_characters", False),
        ("./mine.py:cut", True),
        ("a.b:c", True),
    ],
)
def test_a_colon_makes_a_name_that_of_a_function(name: str, *, expected: bool) -> None:
    assert is_custom(name) is expected


@given(bounds=st.lists(st.tuples(st.integers(-3, 20), st.integers(-3, 20)), max_size=5))
def test_whatever_bounds_it_gives_the_laws_hold_or_the_document_fails(
    tmp_path_factory: pytest.TempPathFactory, bounds: list[tuple[int, int]]
) -> None:
    name = _returns(tmp_path_factory.mktemp("mine"), repr(bounds))

    with suppress(BadChunk):
        assert "".join(_cut(name, "one two tri"))
