# ruff: noqa: E501 - documents are told apart best in one line
import io
import tracemalloc

import pytest

from vectorflow.adapters.extractors.xml import XmlExtractor
from vectorflow.domain.documents import Section, SectionKind
from vectorflow.errors import BrokenFile, LimitExceeded, UnsupportedFormat


def _sections(document: str | bytes) -> list[Section]:
    data = document.encode() if isinstance(document, str) else document
    return list(XmlExtractor().extract(io.BytesIO(data)))


def _text(document: str | bytes) -> str:
    return "".join(section.text for section in _sections(document))


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("<a>text</a>", "text"),
        (
            "<users><user id='7'><name>Ada</name><age>36</age></user>\n<user><name>Bob</name></user></users>",
            "user:\nid: 7\nname: Ada\nage: 36\n\nuser:\nname: Bob",
        ),
        (
            "<order><no>1</no><to><city>Bonn</city></to><sum currency='EUR'>5</sum><paid/><by card='x'/></order>",
            "order:\nno: 1\n\nto:\ncity: Bonn\n\norder:\nsum (currency: EUR): 5\nby (card: x)",
        ),
        ("<doc><p>one <b>two</b> three</p><p><i>four</i> five</p><p>six</p></doc>", "one two three\n\nfour five\n\nsix"),
        ("<a:r xmlns:a='u' xsi:type='t' a:k='v'><a:b>x</a:b></a:r>", "r:\nk: v\nb: x"),
        ("<r><b><![CDATA[1 < 2]]> &amp; &#233;</b></r>", "r:\nb: 1 < 2 & é"),
        ("<r><!-- no --><?no no?><b>x</b></r>", "r:\nb: x"),
        ("\n  <?xml version='1.0'?><r><b>x</b></r>", "r:\nb: x"),
    ],
)  # fmt: skip
def test_data_has_the_names_of_its_elements_and_prose_has_not(document: str, text: str) -> None:
    assert _text(document).strip() == text


def test_titles_of_sections_are_headings() -> None:
    document = """<book><title>B</title><chapter><title>One</title><para>a</para>
        <section><info/><title>Deep <emphasis>er</emphasis></title><para>b</para></section></chapter>
        <chapter><title>Two</title><para>c</para></chapter></book>"""

    assert [(section.headings, section.text) for section in _sections(document)] == [
        ((), "book:\ntitle: B\n\n"),
        (("One",), "# One\n\na\n\n"),
        (("One", "Deep er"), "## Deep er\n\nb\n\n"),
        (("Two",), "# Two\n\nc\n\n"),
    ]


def test_listings_keep_their_lines() -> None:
    document = """<para>See <programlisting language="Python">if x:
    <co/>y</programlisting> there.</para>"""

    assert _text(document) == "See\n\n```python\nif x:\n    y\n```\n\nthere.\n\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252", "iso-8859-15", "koi8-r", "gb2312", "shift_jis", "euc-jp"]
)  # fmt: skip
def test_declared_encodings_are_read(encoding: str) -> None:
    words = {"koi8-r": "Привет", "gb2312": "汉字", "shift_jis": "漢字", "euc-jp": "漢字"}
    word = words.get(encoding, "naïve")
    document = f'<?xml version="1.0" encoding="{encoding}"?><r><b>{word}</b></r>'

    assert _text(document.encode(encoding)) == f"r:\nb: {word}\n\n"


_LAUGHS = '<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><r>&b;</r>'


@pytest.mark.parametrize(
    "document",
    [
        _LAUGHS,
        '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]><r>&x;</r>',
        '<!DOCTYPE r [<!ENTITY % x SYSTEM "http://127.0.0.1/x.dtd"> %x;]><r>x</r>',
    ],
    ids=["in each other", "of a file", "of an address"],
)
def test_documents_that_declare_entities_are_refused(document: str) -> None:
    with pytest.raises(UnsupportedFormat, match="entities"):
        _sections(document)


def test_a_document_type_elsewhere_is_not_fetched_and_its_usual_entities_are_known() -> None:
    document = (
        '<!DOCTYPE r SYSTEM "http://127.0.0.1/x.dtd"><r><b>caf&eacute;&unknown;&nbsp;bar</b></r>'
    )

    assert _text(document) == "r:\nb: café bar\n\n"


@pytest.mark.parametrize(
    "document",
    [
        b"no XML",
        b"<a>",
        b"<a><b></a></b>",
        b"<a>secret &no; text</a>",
        b"<a>\xff secret</a>",
        b"<a/><b/>",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
        b'<?xml version="1.0" encoding="base64"?><a/>',
        b'<?xml version="1.0" encoding="utf-16"?><a/>',
        b'<?xml version="1.0" encoding="shift_jis"?><a>\x81</a>',
    ],
)
def test_what_is_no_xml_is_refused_without_quoting_it(document: bytes) -> None:
    with pytest.raises(BrokenFile) as caught:
        _sections(document)

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("document", [b"", b"  \n"])
def test_nothing_gives_nothing(document: bytes) -> None:
    assert _sections(document) == []


@pytest.mark.parametrize(
    "document", ["<a>" * 100_000, "<p>x" + "<b>" * 100_000, "<a>" * 1001 + "</a>" * 1001]
)
def test_what_is_nested_too_deeply_is_refused(document: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        _sections(document)

    assert caught.value.limit == "depth"


class _Repeated(io.RawIOBase):
    """A document whose middle comes many times; it is never in memory."""

    def __init__(self, begin: bytes, middle: bytes, times: int) -> None:
        self._pieces = iter([begin, *[middle] * times])
        self._rest = b""
        self.given = 0

    def read(self, size: int = -1, /) -> bytes:
        while len(self._rest) < size and (piece := next(self._pieces, b"")):
            self._rest += piece
        given, self._rest = self._rest[:size], self._rest[size:]
        self.given += len(given)
        return given


@pytest.mark.parametrize(
    ("begin", "middle"),
    [
        (b"<r>", b"<item><name>some name</name><value>some value</value></item>\n" * 100),
        (b"<r>", b"<name>some name</name>\n" * 300),
        (b"<r>", b"<p>some <b>words</b> and more</p>\n" * 200),
        (b"<r>text", b"some words " * 700),
        (b"<r>text", b"some <b>words</b>\n" * 400),
        (b"<r><screen>", b"some words\n" * 700),
    ],
    ids=lambda part: part.decode()[:24],
)
def test_sections_come_while_the_rest_is_still_to_be_read(begin: bytes, middle: bytes) -> None:
    source = _Repeated(begin, middle, 1000)

    sections = XmlExtractor().extract(source)

    assert next(sections).text
    assert source.given < 2_500_000


@pytest.mark.slow
def test_memory_stays_bounded_however_long_the_document() -> None:
    middle = b"<item><name>some name</name><p>some <b>words</b> and more</p></item>\n" * 100
    sections = XmlExtractor().extract(_Repeated(b"<r>", middle, 800))

    tracemalloc.start()
    try:
        with pytest.raises(BrokenFile):  # it ends in the middle
            for _ in sections:
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 5_000_000  # of 5.5 MB


@pytest.mark.parametrize("begin", [b"<r a='", b"<r><!--", b"<r><?x ", b"<r><![CDATA[", b"<"])
def test_a_tag_or_comment_without_end_is_refused(begin: bytes) -> None:
    source = _Repeated(begin, b"abcdefgh" * 8192, 1000)

    with pytest.raises((LimitExceeded, BrokenFile)):
        list(XmlExtractor().extract(source))


def test_lines_are_cut_apart_from_long_records() -> None:
    document = "<r>" + "".join(f"<name>{number}</name>" for number in range(20_000)) + "</r>"

    text = _text(document)

    assert all(f"name: {number}\n" in text for number in (0, 9_999, 19_999))
    assert {section.kind for section in _sections(document)} == {SectionKind.TEXT}
