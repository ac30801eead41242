import io

import pytest

from tests.pdf_files import Mark, column, pdf, shown, with_page_tree
from vectorflow.adapters.extractors import pdf as module
from vectorflow.adapters.extractors.pdf import PdfExtractor
from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import BrokenFile, EmptyDocument, EncryptedFile, LimitExceeded
from vectorflow.testing.extractors import Trickle

ASTRAL = {0x61: "\U0001d465", 0x62: "\U0001f600", 0x63: "\U00020000"}


def _extract(data: bytes) -> list[Section]:
    return [one for one in PdfExtractor().extract(io.BytesIO(data)) if isinstance(one, Section)]


def _text(*pages: bytes) -> str:
    return "".join(section.text for section in _extract(pdf(pages))).strip()


class TestText:
    def test_each_page_is_a_section_with_its_number(self) -> None:
        sections = _extract(pdf([column(["One"]), b"", column(["Three"])]))

        assert [(one.page, one.start, one.text) for one in sections] == [
            (1, 0, "One\n\n"),
            (3, 5, "Three\n\n"),
        ]

    def test_lines_stay_lines_and_gaps_part_paragraphs(self) -> None:
        assert _text(column(["a b", "c d", "", "e f", "g h"])) == "a b\nc d\n\ne f\ng h"

    def test_raised_and_lowered_signs_do_not_part_paragraphs(self) -> None:
        page = shown((72, 700, "the square m"), (150, 704, "2"), (160, 700, "is"), (72, 686, "a"))

        assert "\n\n" not in _text(page)

    def test_a_word_parted_at_the_end_of_a_line_is_joined(self) -> None:
        assert _text(column(["an exam-", "ple of it", "and more"])) == "an example of it\nand more"

    @pytest.mark.parametrize(
        ("lines", "text"),
        [
            (["a well-", "known one", "is well-known"], "a well-known one\nis well-known"),
            (["the Anglo-", "Saxon one"], "the Anglo-Saxon one"),
            (["in UTF-", "8 it is"], "in UTF-8 it is"),
            (["from 1990-", "2000 or"], "from 1990-2000 or"),
            (["a dash -", "so it is"], "a dash -\nso it is"),
        ],
    )
    def test_a_hyphen_of_its_own_is_kept(self, lines: list[str], text: str) -> None:
        assert _text(column(lines)).replace("1990-\n2000", "1990-2000") == text

    def test_a_joined_line_does_not_count_as_a_gap(self) -> None:
        page = column(["one", "two", "thr-", "ee", "four", "five"])

        assert "\n\n" not in _text(page)

    def test_columns_follow_each_other(self) -> None:
        left = [(72, 700 - 14 * row, f"left {row}") for row in range(3)]
        right = [(320, 700 - 14 * row, f"right {row}") for row in range(3)]

        text = _text(shown(*left, *right))

        assert text == "left 0\nleft 1\nleft 2\nright 0\nright 1\nright 2"

    def test_a_sentence_that_ends_a_column_ends_its_paragraph(self) -> None:
        left = [(72, 700 - 14 * row, f"left {row}.") for row in range(3)]
        right = [(320, 700 - 14 * row, f"right {row}") for row in range(3)]

        assert "left 2.\n\nright 0" in _text(shown(*left, *right))

    def test_turned_text_is_read_along_its_lines(self) -> None:
        lines = [(100 + 14 * row, 72, f"turned line {row}") for row in range(3)]
        apart = (100 + 14 * 5, 72, "apart")

        text = _text(shown(*lines, apart, turned=True))

        assert text == "turned line 0\nturned line 1\nturned line 2\n\napart"

    def test_a_turned_page_is_read_as_others(self) -> None:
        page = shown((100, 72, "a b"), (114, 72, "c d"), (142, 72, "e f"), turned=True)

        assert _extract(pdf([page], page_entries="/Rotate 90"))[0].text == "a b\nc d\n\ne f\n\n"

    def test_heads_and_feet_of_pages_are_kept(self) -> None:
        page = shown((72, 780, "The head"), (72, 700, "The text"), (300, 20, "7"))

        assert _text(page).split() == ["The", "head", "The", "text", "7"]


class TestCharacters:
    @pytest.mark.parametrize(
        ("char", "text"),
        [
            ("\ufb01", "fi"),
            ("\ufb04", "ffl"),
            ("\xad", ""),
            ("\xa0", " "),
            ("\u200b", ""),
            ("\u2009", " "),
            ("\uf0b7", "•"),
            ("\uf123", ""),
            ("\ufffd", ""),
            ("\ufeff", ""),
            ("\u202e", ""),
            ("\u200d", "\u200d"),
            ("\uf900", "\uf900"),
            ("\u0142", "ł"),
            ("\U0001d465", "\U0001d465"),
            ("\U0001f600", "\U0001f600"),
            ("\U00020000", "\U00020000"),
            ("xyz", "xyz"),
        ],
    )
    def test_each_comes_out_as_readers_write_it(self, char: str, text: str) -> None:
        data = pdf([column(["off*ice and more", "words"])], unicode={0x2A: char})

        assert _extract(data)[0].text == f"off{text}ice and more\nwords\n\n"

    def test_gaps_are_seen_between_lines_of_such_characters(self) -> None:
        lines = ["aaaaaaaaaaaa", "aaaaaaaaaaaa", "aaaaaaaaaaaa", "", "aaaaaaaaaaaa", "aaaaaaaaaaaa"]
        line = "\U0001d465" * 12

        data = pdf([column(lines)], unicode={0x61: "\U0001d465"})

        assert _extract(data)[0].text == f"{line}\n{line}\n{line}\n\n{line}\n{line}\n\n"

    def test_a_page_whose_font_does_not_say_what_it_shows_is_no_text(self) -> None:
        with pytest.raises(EmptyDocument, match="fonts") as caught:
            _extract(pdf([column(["words of glyphs"])], speaks=False))

        assert "OCR" in caught.value.fix

    def test_a_large_file_is_read_where_it_lies(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "IN_MEMORY", 0)
        data = pdf([column(["One"]), column(["Two"])])

        sections = list(PdfExtractor().extract(Trickle(data)))

        assert [one.text for one in sections if isinstance(one, Section)] == [
            "One\n\n",
            "Two\n\n",
        ]


class TestOutline:
    LINES = ("1 Intro-", "duction", "", "Some words.", "", "1.1  Why?", "", "More words.")
    MARKS = (Mark(0, "Book", 0), Mark(1, "Introduction", 0), Mark(2, "Why", 0), Mark(1, "Next", 1))

    def test_headings_come_from_it(self) -> None:
        sections = _extract(pdf([column(self.LINES), column(["Text."])], outline=self.MARKS))

        assert [(one.page, one.headings) for one in sections] == [
            (1, ("Book",)),
            (1, ("Book", "1 Introduction")),
            (1, ("Book", "1 Introduction", "1.1 Why?")),
            (2, ("Book", "Next")),
        ]
        assert sections[1].text == "## 1 Introduction\n\nSome words.\n\n"
        assert sections[3].text == "## Next\n\nText.\n\n"

    def test_pages_between_stay_below_the_last_heading(self) -> None:
        pages = [column([f"Page {number}"]) for number in range(3)]

        sections = _extract(pdf(pages, outline=[Mark(0, "A", 0)]))

        assert [one.headings for one in sections] == [("A",)] * 3

    def test_one_that_leads_nowhere_or_in_circles_does_no_harm(self) -> None:
        data = pdf([column(["Text"])], outline=[Mark(0, "A", 0), Mark(0, "B", 0)])
        circle = data.replace(b"/Prev", b"/Next")

        assert _extract(circle)[-1].text.endswith("Text\n\n")


class TestProperties:
    def test_what_a_document_says_of_itself_is_kept(self) -> None:
        info = {
            "Title": "Größe 😀",
            "Author": "Ann",
            "Subject": " ",
            "Producer": "none of ours",
            "CreationDate": "D:20240102030405+01'30'",
            "ModDate": "D:20240102",
        }

        assert _extract(pdf([column(["x"])], info=info))[0].properties == {
            "title": "Größe 😀",
            "author": "Ann",
            "created": "2024-01-02T03:04:05+01:30",
            "modified": "2024-01-02",
        }

    @pytest.mark.parametrize(
        ("written", "iso"),
        [
            ("D:20240102030405Z", "2024-01-02T03:04:05+00:00"),
            ("D:20240102030405Z00'00'", "2024-01-02T03:04:05+00:00"),
            ("D:20240102030405", "2024-01-02T03:04:05"),
            ("20240102030405-08", "2024-01-02T03:04:05-08:00"),
            ("D:202401020304", "2024-01-02T03:04:00"),
            ("D:20241302", None),
            ("yesterday", None),
        ],
    )
    def test_dates_are_written_as_iso_8601(self, written: str, iso: str | None) -> None:
        data = pdf([column(["x"])], info={"CreationDate": written})

        assert _extract(data)[0].properties.get("created") == iso


class TestAttachments:
    def test_files_inside_are_documents(self) -> None:
        data = pdf([column(["x"])], attached={"a.xml": b"<a/>", "dir/ü.txt": b"text"})

        found = list(PdfExtractor().extract(io.BytesIO(data)))

        assert [one for one in found if isinstance(one, Attached)] == [
            Attached(name="a.xml", data=b"<a/>"),
            Attached(name="ü.txt", data=b"text"),
        ]

    def test_a_pdf_of_nothing_but_files_does_not_fail(self) -> None:
        found = list(PdfExtractor().extract(io.BytesIO(pdf([b""], attached={"a": b"x"}))))

        assert found == [Attached(name="a", data=b"x")]


class TestRefusals:
    def test_one_without_text_says_that_it_is_scanned(self) -> None:
        with pytest.raises(EmptyDocument, match="scanned") as caught:
            _extract(pdf([b"0 0 100 100 re f", b""]))

        assert "OCR" in caught.value.fix

    def test_a_password_is_asked_for(self) -> None:
        with pytest.raises(EncryptedFile, match="password"):
            _extract(pdf([column(["Secret"])], password="open sesame"))  # noqa: S106 - a test's

    def test_an_empty_password_lets_everybody_in(self) -> None:
        data = pdf([column(["Not secret"])], info={"Title": "T"}, password="")

        assert _extract(data)[0].text == "Not secret\n\n"
        assert _extract(data)[0].properties == {"title": "T"}

    @pytest.mark.parametrize("end", [20, 100, 500, -30])
    def test_one_that_is_cut_short_says_so(self, end: int) -> None:
        with pytest.raises(BrokenFile, match="cut short"):
            _extract(pdf([column(["Words"])] * 3)[:end])

    @pytest.mark.parametrize(
        "data",
        [
            b"%PDF-1.7\n%%EOF",
            b"%PDF-1.7\n" + bytes(range(256)) * 20 + b"\n%%EOF\n",
            with_page_tree("2 0 R"),
            with_page_tree("3 0 R", others=["<< /Type /Pages /Count 1 /Kids [2 0 R] >>"]),
            with_page_tree("3 0 R", others=["null"]),
            with_page_tree("3 0 R 3 0 R", count=2, others=["(no page)"]),
            with_page_tree("", count=5),
            with_page_tree("", count=0),
        ],
    )
    def test_one_that_is_damaged_says_so(self, data: bytes) -> None:
        with pytest.raises((BrokenFile, EmptyDocument)):
            _extract(data)

    def test_a_damaged_one_is_not_blamed_for_the_password_of_the_one_before(self) -> None:
        with pytest.raises(EncryptedFile):
            _extract(pdf([column(["Secret"])], password="open sesame"))  # noqa: S106 - a test's

        with pytest.raises((BrokenFile, EmptyDocument)):
            _extract(with_page_tree("", count=0))

    def test_the_number_of_pages_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_PAGES", 2)

        with pytest.raises(LimitExceeded, match="more than 2 pages") as caught:
            _extract(pdf([column(["x"])] * 3))

        assert caught.value.limit == "pages"

    def test_what_a_page_draws_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_OBJECTS", 10)
        drawing = b"0 0 m 1 1 l S\n" * 11

        with pytest.raises(LimitExceeded, match="page 2 has more than 10") as caught:
            _extract(pdf([column(["x"]), drawing]))

        assert caught.value.limit == "objects"

    def test_files_inside_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_ATTACHED", 1)

        with pytest.raises(LimitExceeded, match="more than 1 files"):
            list(PdfExtractor().extract(io.BytesIO(pdf([b""], attached={"a": b"x", "b": b"y"}))))


@pytest.mark.slow
def test_ten_thousand_pages_come_one_by_one() -> None:
    source = io.BytesIO(pdf([column(["A page of it."])] * 10_000))
    sections = PdfExtractor().extract(source)

    assert [next(sections).page for _ in range(10_000)] == list(range(1, 10_001))
    assert next(sections, None) is None
