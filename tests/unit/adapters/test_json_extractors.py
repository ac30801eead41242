# ruff: noqa: E501 - documents are told apart best in one line
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.adapters.extractors import json as json_module
from vectorflow.adapters.extractors import jsonl as jsonl_module
from vectorflow.adapters.extractors.json import JsonExtractor
from vectorflow.adapters.extractors.jsonl import JsonLinesExtractor
from vectorflow.domain.documents import Section, SectionKind
from vectorflow.errors import BinaryContent, BrokenFile, LimitExceeded


def _sections(
    text: str, kind: type[JsonExtractor | JsonLinesExtractor] = JsonExtractor
) -> list[Section]:
    return list(kind().extract(io.BytesIO(text.encode())))


def _text(text: str, kind: type[JsonExtractor | JsonLinesExtractor] = JsonExtractor) -> str:
    return "".join(section.text for section in _sections(text, kind))


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ('{"a": 1, "b": {"c": "x", "d": {"e": true}}, "f": null}', "a: 1\n\nb.c: x\n\nb.d.e: true\n\nf: null\n\n"),
        ('{"tags": ["x", "y", 3], "none": [], "nothing": {}, "empty": ""}', "tags: x, y, 3\nnone: []\nnothing: {}\nempty:\n\n"),
        ('[{"n": "A", "x": {"y": 1}}, {"n": "B"}, 5]', "n: A\nx.y: 1\n\nn: B\n\n5\n\n"),
        ('{"items": [{"sku": 1}, {"sku": 2, "of": [[1, 2], [3]]}]}', "items[0].sku: 1\n\nitems[1].sku: 2\nitems[1].of[0]: 1, 2\nitems[1].of[1]: 3\n\n"),
        ('"just text"', "just text\n\n"),
        ("[1, 2, 3]", "1, 2, 3\n\n"),
        ('{"note": "two\\nlines"}', "note: two\nlines\n\n"),
        ('{"price": 1.10, "id": 123456789012345678901234567890, "e": 1E400, "m": -0.0}', "price: 1.10\nid: 123456789012345678901234567890\ne: 1E400\nm: -0.0\n\n"),
        ('{"a": NaN, "b": -Infinity}', "a: NaN\nb: -Infinity\n\n"),
        ('{"a": 1, "a": 2}', "a: 1\na: 2\n\n"),
        ('{"a": "tab\there\nand line"}', "a: tab\there\nand line\n\n"),
        ('{"a": "\\ud83d\\ude00 \\ud800 half"}', "a: 😀  half\n\n"),
        ('\ufeff{"a": 1}', "a: 1\n\n"),
    ],
)  # fmt: skip
def test_json_is_lines_of_path_and_value(document: str, text: str) -> None:
    assert _text(document) == text


def test_a_long_array_of_objects_that_are_alike_is_a_table() -> None:
    rows = [{"sku": number, "name": f"n{number}"} for number in range(10)]

    (table,) = _sections(json.dumps({"items": rows}))

    assert table.kind is SectionKind.TABLE
    assert table.header == "| items.sku | items.name |\n| --- | --- |\n"
    assert table.text == (table.header + "".join(f"| {n} | n{n} |\n" for n in range(10)) + "\n")


@pytest.mark.parametrize(
    "other",
    [
        {"sku": 1},
        {"name": "x", "sku": 1},
        {"sku": 1, "name": "x" * 301},
        {"sku": 1, "name": [1]},
        7,
    ],
)
def test_objects_that_are_not_alike_or_too_long_for_a_cell_are_paragraphs(other: object) -> None:
    rows = [{"sku": number, "name": "x"} for number in range(20)]

    assert {one.kind for one in _sections(json.dumps([*rows, other]))} == {SectionKind.TEXT}


_LEAVES = st.none() | st.booleans() | st.integers() | st.text(st.characters(categories=("L", "N")))
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text("abc", min_size=1), inner),
    max_leaves=40,
)


@given(value=_VALUES)
def test_no_value_and_no_name_is_lost(value: object) -> None:
    text = _text(json.dumps(value))

    for leaf in _leaves(value):
        assert leaf in text


def _leaves(value: object) -> list[str]:
    if isinstance(value, dict):
        return [leaf for name, one in value.items() for leaf in (name, *_leaves(one))]
    if isinstance(value, list):
        return [leaf for one in value for leaf in _leaves(one)]
    return [value if isinstance(value, str) else json.dumps(value)]


@pytest.mark.parametrize("bad", ['{"secret": 1,}', "{'secret': 1}", '{"secret": ', "secret", "1 2"])
def test_what_is_no_json_is_refused_with_its_place(bad: str) -> None:
    with pytest.raises(BrokenFile, match="line 2, column") as caught:
        _sections("\n" + bad)

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "deep",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "[" * 300 + "]" * 300,
        '{"a":' * 300 + "1" + "}" * 300,
        '[{"a":' * 300 + "1" + "}]" * 300,
    ],
    ids=lambda text: f"{text[:6]} {len(text)}",
)
@pytest.mark.parametrize("kind", [JsonExtractor, JsonLinesExtractor])
def test_what_is_nested_too_deeply_is_refused(
    deep: str, kind: type[JsonExtractor | JsonLinesExtractor]
) -> None:
    with pytest.raises(LimitExceeded) as caught:
        _sections(deep, kind)

    assert caught.value.limit == "depth"


def test_what_is_nested_as_people_nest_is_read() -> None:
    text = _text('{"a":' * 150 + "1" + "}" * 150)

    assert text.endswith(".a.a: 1\n\n")


def test_long_names_around_do_not_multiply() -> None:
    inner = ",".join(f'"k{number}": 1' for number in range(1000))
    text = "".join(f'{{"{"x" * 5000}{n}": ' for n in range(50)) + "{" + inner + "}" + "}" * 50

    assert len(_text(text)) < 10_000_000


def test_a_document_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_module, "MAX_DOCUMENT", 10)

    with pytest.raises(LimitExceeded) as caught:
        _sections("[1, 2, 3, 4]")
    assert caught.value.limit == "size"
    assert "JSON Lines" in caught.value.fix


def test_json_lines_are_a_paragraph_each() -> None:
    text = '{"a": 1, "b": {"c": 2}}\n\n"x"\r\n[1, 2]\n{"d": "\u2028"}'

    assert _text(text, JsonLinesExtractor) == "a: 1\nb.c: 2\n\nx\n\n1, 2\n\nd:\n\n"


def test_a_bad_line_is_named_by_its_number_alone() -> None:
    with pytest.raises(BrokenFile, match=r"line 3 is no JSON") as caught:
        _sections('{"a": 1}\n\n{"secret": }\n', JsonLinesExtractor)

    assert "secret" not in str(caught.value)
    assert "line" in caught.value.fix


def test_a_record_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl_module, "MAX_LINE", 100_000)

    assert _sections('"' + "x" * 90_000 + '"\n', JsonLinesExtractor)
    with pytest.raises(LimitExceeded) as caught:
        _sections("1\n" + '"' + "x" * 400_000 + '"\n', JsonLinesExtractor)
    assert caught.value.limit == "size"


def test_json_that_is_no_text_is_refused() -> None:
    with pytest.raises(BinaryContent):
        list(JsonExtractor().extract(io.BytesIO(b'{"a": \0}')))
