"""One command over a folder of real files of every type: what is in the index afterwards."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.acceptance.cli_process import vectorflow
from vectorflow import plugins
from vectorflow.cli.exit_codes import PARTIAL
from vectorflow.domain.formats import HEAD_BYTES
from vectorflow.wiring.recipes import detect

pytestmark = pytest.mark.slow

FILES = Path(__file__).parents[1] / "files"
PHOTO = "5AAoPFgV-nJ965R7o-98C38840-4454-4750-9AEF-F53DB3E37548.jpg"
FAILED = {
    "docx/encrypted.docx": "encrypted_file",
    "eml/msg_07.eml//dingusfish.gif": "unsupported_format",
    f"msg/photo.msg//{PHOTO}": "unsupported_format",
    "pdf/git.pdf": "empty_document",
    "pdf/r6-user-password.pdf": "encrypted_file",
}
"""Documents of which nothing can be embedded, and the code that says why."""
ATTACHED = {
    "eml/msg_02.eml//[Ppp] testing #1.eml",
    "eml/msg_02.eml//attachment-2.eml",
    "eml/msg_02.eml//[Ppp] testing #3.eml",
    "eml/msg_02.eml//[Ppp] testing #4.eml",
    "eml/msg_02.eml//[Ppp] testing #5.eml",
    "eml/msg_16.eml//[scr] yeah for Ians!!.eml",
    "eml/msg_43.eml//attachment-1.txt",
    "eml/msg_46.eml//GroupwiseForwardingTest.eml",
    "msg/gull-point.msg//list.txt",
    "pdf/attachments.pdf//1.txt",
    "pdf/attachments.pdf//attached.pdf",
}
"""Documents that lie in others."""


class Known(NamedTuple):
    """What one chunk of a document must have."""

    document: str
    text: str
    headings: tuple[str, ...] = ()
    page: int | None = None
    about: Mapping[str, str] = {}
    """Metadata, among others."""


LOOMS = "The looms of Lyon"
OIL = (
    "| Delivered | Litres | Price per litre | Supplier | Paid |\n| --- | --- | --- | --- | --- |\n"
)

KNOWN = (
    Known(
        "html/article.html",
        "| 6 | 150 | harbours & piers |",
        ("How a Fresnel lens bends light", "Orders"),
        about={"author": "The keepers of Gull Point", "language": "en"},
    ),
    Known("html/windows-1252.html", "coûte 8 € le kilo \N{EN DASH}", ("Marché aux poissons",)),
    Known(
        "pdf/pdflatex-outline.pdf",
        "Hello, here is some text without a meaning.",
        ("1 Foo",),
        2,
        {"created": "2022-04-06T20:15:41+02:00"},
    ),
    Known("pdf/hello-world.pdf", "Chinese (traditional):\n你好世界", page=1),
    Known("pdf/r6-owner-password.pdf", "pdf encryption test", page=1, about={"author": "cheng"}),
    Known("pdf/toc_circular.pdf", "Page2", page=2),
    Known(
        "docx/pandoc.docx",
        "| Loom | Width | Threads |\n| --- | --- | --- |\n| Jacquard | 120 | 400 |",
        (LOOMS, "Looms", "Sizes"),
        about={"title": LOOMS, "author": "Ada Lovelace", "language": "en-GB"},
    ),
    Known("docx/word-hyperlinks.docx", "Three with link to https://foo.com."),
    Known("doc/libreoffice.doc", "A loom weaves cloth out of thread.", (LOOMS, "Looms")),
    Known("doc/word.doc", "saved as Word 97-2003", about={"author": "Laurence Ipsum"}),
    Known("odt/libreoffice.odt", "A loom weaves cloth out of thread.", (LOOMS, "Looms")),
    Known("rtf/libreoffice.rtf", "A loom weaves cloth out of thread.", (LOOMS, "Looms")),
    Known("epub/pandoc-3.epub", "Ελληνικά, 日本語 and an emoji 😀", ("Cards",)),
    Known("pptx/pandoc.pptx", "- frame\n- warp\n  - long threads", ("Looms",), 2),
    Known("pptx/powerpoint-notes.pptx", "Notes", ("Slide 1", "Notes"), 1),
    Known(
        "xlsx/openpyxl.xlsx",
        f"{OIL}| 2026-10-02 | 400 | 1.129 | Harbour Fuels | TRUE |",
        ("Oil",),
        about={"title": "Oil and lamps", "created": "2026-11-20T08:00:00Z"},
    ),
    Known("xlsx/xlsxwriter.xlsx", "| Wednesday | 41 | 991.3 | gale; horn on |", ("Week",)),
    Known("xls/sample.xls", "| 2024-02-29 | 16:40:00 | 2 | FALSE |", ("Tide table",)),
    Known("csv/lights-semicolon-latin1.csv", "| Süderhöft | 18 | Glt R 6s | 11 |"),
    Known("csv/multiline-cells.csv", "| Brask | Wick trimmed. Oil: 40 litres left. |"),
    Known("tsv/iso3166.tsv", "| BA | Bosnia & Herzegovina |"),
    Known("json/station.json", "station.position.latitude: 57.0721"),
    Known("jsonl/questions.jsonl", "question: 灯台の光はどこまで届きますか。"),
    Known("xml/notices.xml", "The green buoy N 7 has left its position"),
    Known("xml/elementtree-test.xml", "- 5.XSL Patterns", ("Introduction to XSL", "Overview")),
    Known(
        "ipynb/barometer.ipynb",
        "```python\nnext(hour * 3 for hour, fall in",
        ("Pressure before a storm", "When to warn"),
    ),
    Known(
        "markdown/front-matter.md",
        "2. Wipe the panes with spirit, *never* with water.",
        ("Winter orders", "Frost"),
        about={"author": "I. Ondine", "created": "2026-11-01"},
    ),
    Known("rst/tides.rst", "full    4.6", ("Reading tides", "Springs and neaps")),
    Known("text/logbook", "The horn was on for six hours and a quarter."),
    Known("text/koi8-r.txt", "Туман поднялся к полудню"),
    Known("text/utf-16.txt", "Смотритель записывает погоду в журнал."),
    Known("text/windows-1252.txt", "„Nebel ab 4 Uhr \N{EN DASH} Horn läuft“. Öl für drei Nächte"),
    Known(
        "eml/msg_07.eml",
        "To: Dingus Lovers <cravindogs@cravindogs.com>",
        ("Here is your dingus fish",),
        about={"created": "2001-04-20T19:35:02-04:00"},
    ),
    Known(
        "msg/gull-point.msg",
        "Please send wicks, flour and the new pane",
        ("Boat on Thursday",),
        about={"cc": "M. Brask <brask@gullpoint.example>"},
    ),
    Known(
        "msg/gull-point.msg//list.txt",
        "Flour, 10 kg",
        about={"attached_to": "msg/gull-point.msg"},
    ),
    Known("code/bisect.py", "def insort_right(a, x, lo=0, hi=None, *, key=None):"),
    Known("code/go-grammar.js", "module.exports = grammar({"),
    Known("code/units.ts", "export function passage(distance: Miles, speed: Knots"),
    Known("code/ShipList.tsx", "<>at berth {ship.berth}</>"),
    Known("code/NetInfoUtils.java", "public static void reverseByteArray"),
    Known("code/ring_buffer.go", "func (b *Buffer) Mean() (float64, error) {"),
    Known("code/great_circle.rs", "pub fn bearing(self, other: Place) -> f64 {"),
    Known("code/crc32.c", "static uint32_t crc32(uint32_t crc"),
    Known("code/matrix.hpp", "template <std::size_t Rows, std::size_t Columns>"),
    Known("code/Beacon.cs", "public sealed class Beacon(string name, Rhythm rhythm)"),
    Known("code/oil_store.rb", "class Empty < StandardError; end"),
    Known("code/notice_board.php", "<?php foreach ($inForce as $notice): ?>"),
    Known("code/rotate-log.sh", 'rm -f "$folder/lamp.log.$number"'),
    Known("code/harbour-schema.sql", "CREATE UNIQUE INDEX one_ship_per_berth"),
    Known("code/normalize.css", '[type="checkbox"],'),
    Known("code/FogSignal.kt", "data class Blast(override val length: Duration)"),
    Known("code/StorageRegistry.swift", "StorageRegistry"),
    Known("code/Soundings.scala", "@main def check(path: String, draught: Double): Unit ="),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A folder in which the files have been embedded."""

    folder: Path
    report: Mapping[str, Any]
    chunks: Mapping[str, list[dict[str, Any]]]
    """By document."""


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    folder = tmp_path_factory.mktemp("real-files")
    ran = vectorflow(folder, "embed", str(FILES), "--json", "--out", "records.jsonl")
    assert ran.code == PARTIAL, ran.err
    chunks: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    with (folder / "records.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            chunks[record["document"]].append(record)
    return Embedded(folder=folder, report=ran.json, chunks=chunks)


def _names() -> set[str]:
    found = (path.relative_to(FILES) for path in FILES.rglob("*") if path.is_file())
    return {name.as_posix() for name in found if not name.name.startswith(".")}


def _type(name: str) -> str:
    with (FILES / name).open("rb") as file:
        return detect(name, file.read(HEAD_BYTES))


def test_all_is_embedded_but_what_cannot_be_read(embedded: Embedded) -> None:
    failed = {one["external_id"]: one["code"] for one in embedded.report["failures"]}

    assert failed == FAILED
    assert embedded.chunks.keys() == _names() - FAILED.keys() | ATTACHED


def test_no_text_is_damaged(embedded: Embedded) -> None:
    for name, chunks in embedded.chunks.items():
        assert all(chunk["text"].strip() for chunk in chunks), name
        assert not any("\N{REPLACEMENT CHARACTER}" in chunk["text"] for chunk in chunks), name


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.document)
def test_a_file_gives_what_is_in_it(embedded: Embedded, known: Known) -> None:
    having = [chunk for chunk in embedded.chunks[known.document] if known.text in chunk["text"]]

    assert having, [chunk["text"][:80] for chunk in embedded.chunks[known.document]]
    assert (tuple(having[0]["headings"]), having[0]["page"]) == (known.headings, known.page)
    assert having[0]["metadata"].items() >= known.about.items()


def test_every_type_has_two_files_and_a_known_text() -> None:
    counts = Counter(map(_type, _names() - FAILED.keys()))
    known = {_type(one.document) for one in KNOWN if "//" not in one.document}

    assert {name for name, count in counts.items() if count >= 2} == set(
        plugins.names("extractors")
    )
    assert known == set(plugins.names("extractors"))


def test_rows_of_a_table_stay_under_its_header(embedded: Embedded) -> None:
    for name in ("csv/iris.csv", "tsv/zone1970.tsv", "xls/large.xls"):
        tables = [chunk["text"] for chunk in embedded.chunks[name] if chunk["text"][0] == "|"]
        tops = {tuple(text.splitlines()[:2]) for text in tables}
        assert (len(tables) > 3, len(tops)) == (True, 1), name


def test_a_chunk_is_found_by_what_it_says(embedded: Embedded) -> None:
    said = embedded.chunks["html/article.html"][-1]["text"]

    ran = vectorflow(embedded.folder, "search", said, "--json", "-k", "1")

    hits = ran.json["hits"]
    assert isinstance(hits, list)
    assert [(hit["document"]["external_id"], hit["text"]) for hit in hits] == [
        ("html/article.html", said)
    ]


def test_a_second_run_embeds_nothing(embedded: Embedded) -> None:
    ran = vectorflow(embedded.folder, "embed", str(FILES), "--json")

    report = ran.json
    assert (ran.code, report["new"], report["chunks_embedded"]) == (PARTIAL, 0, 0)
    assert report["records"] == embedded.report["records"]
