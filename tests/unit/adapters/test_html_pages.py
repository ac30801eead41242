# ruff: noqa: E501 - documents are told apart best in one line
import io
from contextlib import suppress

import pytest

from vectorflow.adapters.extractors import html as module
from vectorflow.adapters.extractors.html import HtmlExtractor
from vectorflow.domain.documents import Section
from vectorflow.errors import BinaryContent, LimitExceeded


def _sections(data: bytes) -> list[Section]:
    return list(HtmlExtractor().extract(io.BytesIO(data)))


def _text(data: bytes) -> str:
    return "".join(section.text for section in _sections(data)).strip()


_WORDS = "Ženy a děti v Žďáru nad Sázavou — příliš žluťoučký kůň úpěl ďábelské ódy."
_META = '<meta charset="{}">'


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("<p>é漢".encode(), "é漢"),
        ("<p>é漢".encode("utf-8-sig"), "é漢"),
        ("<p>é漢".encode("utf-16"), "é漢"),
        ("<p>é漢".encode("utf-16-le"), "é漢"),
        ("<p>é漢".encode("utf-16-be"), "é漢"),
        ("<meta charset=iso-8859-1><p>“naïve” €".encode("cp1252"), "“naïve” €"),
        ("<meta charset='windows-1251'><p>Привет".encode("cp1251"), "Привет"),
        ('<META http-equiv=x content="text/html; charset=Shift_JIS"><p>漢字①'.encode("cp932"), "漢字①"),
        ('<meta charset="gb2312"><p>漢字€'.encode("gb18030"), "漢字€"),
        ('<meta charset="iso-2022-jp"><p>漢字'.encode("iso2022_jp"), "漢字"),
        ('<?xml version="1.0" encoding="iso-8859-2"?><p>žluťoučký'.encode("iso8859-2"), "žluťoučký"),
        ('<meta charset="iso-8859-1"><p>é漢'.encode(), "é漢"),
        ('<meta charset="windows-1251"><p>é漢'.encode("utf-8-sig"), "é漢"),
        ('<meta charset="nonsense"><p>caf\xe9'.encode("latin-1"), "café"),
        ('<meta charset="base64"><p>caf\xe9'.encode("latin-1"), "café"),
        ('<meta charset="unicode_escape"><p>caf\xe9 \\u0041'.encode("latin-1"), "café \\u0041"),
        (f"<p>{_WORDS * 5}".encode("cp1250"), _WORDS * 5),
        (b"<p>plain and then \x81 a byte of nothing", "plain and then a byte of nothing"),
    ],
)  # fmt: skip
def test_the_encoding_is_what_the_bytes_are_in(data: bytes, text: str) -> None:
    assert _text(data) == text


@pytest.mark.parametrize(
    "data",
    [b"<p>a\0b</p>", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", bytes(range(1, 32)) * 4],
    ids=["NUL", "PNG", "controls"],
)
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(BinaryContent):
        _sections(data)


def test_a_page_says_of_itself_what_its_records_keep() -> None:
    page = """<html lang="de-AT"><head><title> Der\n Wind </title>
        <meta name="Author" content="E. Example"><meta name="description" content="Vom Wind.">
        <meta property="og:description" content="second"><meta name="keywords" content="wind, see">
        <meta property="article:published_time" content="2024-02-29T10:00:00+01:00">
        <meta http-equiv="last-modified" content="Fri, 01 Mar 2024 09:30:00 GMT">
        <meta name="viewport" content="width=device-width">
        </head><body><svg><title>not it</title></svg>Text"""

    (section,) = _sections(page.encode())

    assert section.properties == {
        "title": "Der Wind",
        "author": "E. Example",
        "description": "Vom Wind.",
        "keywords": "wind, see",
        "language": "de-AT",
        "created": "2024-02-29T10:00:00+01:00",
        "modified": "2024-03-01T09:30:00+00:00",
    }
    assert section.text == "Text\n\n"


@pytest.mark.parametrize("date", ["", "yesterday", "13/13/13", "Fri, 99 Foo 2024"])
def test_a_date_that_is_none_is_left_out(date: str) -> None:
    (section,) = _sections(f'<meta name="date" content="{date}"><p>x'.encode())

    assert section.properties == {}


def test_a_description_without_end_is_cut() -> None:
    (section,) = _sections(f'<meta name="description" content="{"x" * 100_000}"><p>x'.encode())

    assert len(section.properties["description"]) == 1000


@pytest.mark.parametrize("page", ["", "<html></html>", "<title>x</title>", "<!-- x -->", "   "])
def test_a_page_without_text_has_no_section(page: str) -> None:
    assert _sections(page.encode()) == []


def test_xhtml_may_close_any_element_at_once() -> None:
    page = """<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "x.dtd">
        <html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="x.js"/></head>
        <body><p>one<br/>two</p><div class="a"/><p>three</p></body></html>"""

    assert _text(page.encode()) == "one\ntwo\n\nthree"


@pytest.mark.parametrize(
    ("unit", "end"),
    [
        ("<div>", ""),
        ("<div>", "</div>"),
        ("<span>", ""),
        ("<ul><li>", ""),
        ("<blockquote>", ""),
        ("<nav>", ""),
        ("<TABLE><TR><TD>", ""),
        ("<dl><dt>", ""),
        ("<math>", ""),
        ("<b>", ""),
        ("<x-y>", "</x-y>"),
        ("<pre>", ""),
        ("<h1><div>", ""),
        ("<div hidden>", "</div>x"),
        ("<svg><g>", "</g></svg>x"),
        ("</div>", ""),
        ("<p>", ""),
        ("<br>", ""),
    ],
)
def test_pages_nested_without_end_do_no_harm(unit: str, end: str) -> None:
    deep = 900 // unit.count("<")

    assert "x" in _text((unit * deep + "x" + end * deep).encode())
    with suppress(LimitExceeded):
        assert "x" in _text((unit * 100_000 + "x" + end * 100_000).encode())


def test_a_page_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(LimitExceeded) as caught:
        _text(b"<div>" * 5001 + b"x")

    assert caught.value.limit == "depth"


@pytest.mark.parametrize("unit", ["<li>x", "<p>x", "<tr><td>x", "<br>x", "<div>x</div>", "<dt>x"])
def test_a_long_page_is_no_deep_one(unit: str) -> None:
    assert _text(unit.encode() * 9_000).count("x") == 9_000


def test_a_page_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAGE", 1000)

    assert _text(b"x" * 1000)
    with pytest.raises(LimitExceeded, match="1,000 bytes") as caught:
        _sections(b"x" * 1001)
    assert caught.value.limit == "size"
