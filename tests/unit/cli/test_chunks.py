import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.unit.cli.chunked import RowChunker, cutters, reading, sections, windows
from tests.unit.cli.conftest import Command
from vectorflow.adapters.embedders.hash import HashEmbedder
from vectorflow.cli import chunks as chunks_command
from vectorflow.cli import output
from vectorflow.cli.chunks_facts import Agreement
from vectorflow.cli.chunks_text import Line, lines, safe
from vectorflow.domain.documents import Attached, Section, SectionKind

LAMP = "# Lamp\n\nOil the lamp. Trim the wick.\n\n# Horn\n\nBlow the horn.\n"
WINDOWS = ("--chunker", "tokens", "--size", "8", "--overlap", "4")
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"


@pytest.fixture
def lamp(command: Command) -> Command:
    Path("lamp.md").write_text(LAMP, encoding="utf-8")
    return command


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LAMP.encode())))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument"),
        (["lamp.md", "--name", "x.md"], "names the document on stdin"),
        (["lamp.md", "--chunker", "defualt"], "no chunkers named 'defualt'"),
        (["lamp.md", "--compare", "defualt"], "no chunkers named 'defualt'"),
        (["lamp.md", "--embedder", "hsh:384"], "no embedders named 'hsh'"),
        (["lamp.md", "--size", "9000"], "reads 8192 tokens"),
        (["lamp.md", "--size", "8", "--overlap", "8"], "less than the size"),
        (["lamp.md", "--html", "no/page.html"], "the folder of --html 'no/page.html' does not"),
        (["lamp.md", "--html", "."], "is no file"),
        (["lamp.md", "--html", "./lamp.md"], "would replace the document itself"),
        (["https://host/a.md"], "https:// addresses are not read yet"),
    ],
)
def test_what_cannot_work_is_refused_with_a_fix(
    lamp: Command, arguments: list[str], message: str
) -> None:
    ran = lamp("chunks", *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert message in " ".join(ran.err.split())
    assert "\nfix      " in ran.err


def test_a_page_and_json_cannot_both_be_on_stdout(lamp: Command) -> None:
    ran = lamp("chunks", "lamp.md", "--html", "-", "--json")

    assert (ran.code, "both want stdout" in ran.error["message"]) == (2, True)


def test_an_address_is_refused_with_a_command_that_works(command: Command) -> None:
    ran = command("chunks", "https://host/a.md?x=1", "--json")

    assert ran.error["fix"] == (
        "curl -fsSL https://host/a.md?x=1 | vectorflow chunks - --name a.md"
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.md", "'nowhere.md' does not exist"),
        ("docs", "one document is wanted, and this is a directory"),
        ("docs/one", "one document is wanted, and this is a directory"),
        ("docs/*.md", "one document is wanted, and there are several"),
    ],
)
def test_what_is_no_single_document_is_an_error(command: Command, path: str, message: str) -> None:
    Path("docs/one").mkdir(parents=True)
    for name in ("a.md", "b.md", "one/c.md"):
        Path("docs", name).write_text("text", encoding="utf-8")

    ran = command("chunks", path, "--json")

    assert (ran.code, ran.error["message"]) == (1, message)
    assert ran.error["fix"]


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (PNG, "unsupported_format", "file.bin: it is a PNG image"),
        (b"", "empty_document", "file.bin: there is no text in 'file.bin'"),
        (b" \n\n", "empty_document", "file.bin: there is no text in 'file.bin'"),
        (b"\0\1\2", "binary_content", "file.bin: "),
    ],
)
def test_a_document_that_fails_says_why_and_what_to_do(
    command: Command, data: bytes, code: str, message: str
) -> None:
    Path("file.bin").write_bytes(data)

    ran = command("chunks", "file.bin")
    as_json = command("chunks", "file.bin", "--json")

    assert (ran.code, as_json.code, ran.out) == (1, 1, "")
    assert message in " ".join(ran.err.split())
    assert "\nfix      " in ran.err
    assert as_json.error["code"] == code
    assert as_json.error["message"].startswith(message)


def test_the_chunks_of_a_file_are_printed_with_what_is_known_of_them(lamp: Command) -> None:
    ran = lamp("chunks", "lamp.md", *WINDOWS)

    assert ran.code == 0
    assert ran.out.splitlines() == [
        "      0  Lamp · characters 0-30 · 8 tokens",
        "         # Lamp",
        "",
        "         Oil the lamp. Trim the",
        "",
        "      1  Lamp · characters 16-36 · 6 tokens · overlap 4",
        "overlap  lamp. Trim the",
        "         wick.",
        "",
        "      2  Horn · characters 38-60 · 6 tokens",
        "         # Horn",
        "",
        "         Blow the horn.",
        "",
        "chunks      3",
        "tokens      20",
        "in a chunk  6 to 8",
        "median      6",
        "filled      83%",
        "overlap     20%",
    ]
    assert ran.err == (
        "in-process, nothing is kept · lamp.md (markdown) · hash 384-d ·"
        " tokens: chunks of 8 tokens, overlap 4\n"
    )


def test_nothing_is_kept(lamp: Command) -> None:
    lamp("chunks", "lamp.md")

    assert [path.name for path in Path.cwd().iterdir()] == ["lamp.md"]


def test_stdin_has_the_type_that_its_name_says(command: Command, stdin: None) -> None:
    del stdin

    found = json.loads(command("chunks", "-", "--name", "lamp.md", "--json").out)

    assert (found["file"], found["document"], found["extractor"]) == (
        "lamp.md", "lamp.md", "markdown",
    )  # fmt: skip
    assert [chunk["headings"] for chunk in found["chunks"]] == [["Lamp"], ["Horn"]]


def test_stdin_without_a_name_is_text(command: Command, stdin: None) -> None:
    del stdin

    found = json.loads(command("chunks", "-", "--json").out)

    assert (found["document"], found["extractor"]) == ("stdin", "text")


def test_json_has_everything_about_the_chunks(lamp: Command) -> None:
    found = json.loads(lamp("chunks", "lamp.md", *WINDOWS, "--json").out)

    chunks, summary = found.pop("chunks"), found.pop("summary")
    assert found == {
        "file": "lamp.md",
        "document": "lamp.md",
        "extractor": "markdown",
        "chunker": "tokens",
        "size": 8,
        "overlap": 4,
        "embedder": "hash:384",
        "tokenizer": "words",
        "properties": {},
        "attachments": [],
    }
    assert chunks[1] == {
        "position": 1,
        "start": 16,
        "end": 36,
        "tokens": 6,
        "overlap": 14,
        "overlap_tokens": 4,
        "page": None,
        "headings": ["Lamp"],
        "header": "",
        "text": "lamp. Trim the wick.",
    }
    assert (summary["chunks"], summary["tokens"]) == (3, 20)


def test_two_chunkers_are_compared(lamp: Command) -> None:
    ran = lamp("chunks", "lamp.md", "--compare", "sentences", "--size", "8", "--overlap", "4")
    as_json = lamp("chunks", "lamp.md", "--compare", "sentences", "--size", "8", "--json")

    table = [line.split() for line in ran.out.splitlines()]
    assert table[0] == ["default", "sentences"]
    assert table[1] == ["chunks", "3", "5"]
    assert table[-1] == ["cuts", "alike", "1"]
    found = json.loads(as_json.out)
    assert (found["chunker"], found["compare"]["chunker"]) == ("default", "sentences")
    assert found["compare"]["chunks"][0]["text"] == "# Lamp"


def test_a_page_is_written_beside_the_summary(lamp: Command) -> None:
    ran = lamp("chunks", "lamp.md", "--html", "page.html")

    assert (ran.code, "Oil the lamp" in ran.out) == (0, False)
    assert "chunks      2" in ran.out
    assert "Oil the lamp" in Path("page.html").read_text("utf-8")


def test_a_page_goes_with_json(lamp: Command) -> None:
    ran = lamp("chunks", "lamp.md", "--html", "page.html", "--json")

    assert len(json.loads(ran.out)["chunks"]) == 2
    assert Path("page.html").exists()


def test_what_could_be_read_before_a_fault_is_shown(
    lamp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk that the model cannot read: its place is what one looks for."""
    long = lamp("chunks", "lamp.md", "--chunker", "characters", "--size", "60")
    assert long.code == 0
    monkeypatch.setattr("vectorflow.adapters.embedders.hash.HashEmbedder.limits", _limits(3))

    ran = lamp("chunks", "lamp.md", "--chunker", "characters", "--size", "60", "--html", "p.html")
    as_json = lamp("chunks", "lamp.md", "--chunker", "characters", "--size", "60", "--json")

    assert (ran.code, as_json.code) == (1, 1)
    assert "lamp.md: a chunk has 10 tokens, the model reads 3" in " ".join(ran.err.split())
    assert "An embed fails (bad_chunk)" in Path("p.html").read_text("utf-8")
    found = json.loads(as_json.out)
    assert (len(found["chunks"]), found["error"]["code"]) == (2, "bad_chunk")
    assert found["error"]["fix"] == "ask for smaller chunks"


def _limits(tokens: int) -> object:
    return replace(HashEmbedder.limits, max_text_tokens=tokens)


def test_a_terminal_sees_how_many_chunks_there_are(
    lamp: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=80)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(output, "stderr", lambda: terminal)

    ran = lamp("chunks", "lamp.md", "--json")

    assert ran.code == 0
    assert "2 chunks" in screen.getvalue()


def test_an_interrupt_is_quiet(lamp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(chunks_command, "_run", interrupted)

    ran, as_json = lamp("chunks", "lamp.md"), lamp("chunks", "lamp.md", "--json")

    assert (ran.code, ran.out, ran.err) == (130, "", "")
    assert (as_json.code, as_json.error["code"]) == (130, "interrupted")


def test_a_repeated_header_and_an_overlap_are_marked() -> None:
    table = Section(
        text="| a |\n| 1 |\n", start=0, kind=SectionKind.TABLE, header="| a |\n", headings=("T",)
    )
    [found] = reading([table], cutters(RowChunker())).sections()
    [overlapped] = reading(sections("one two three four"), windows(3, 1)).sections()

    assert list(lines(found.chunks[0][1])) == [
        Line("      1", "T · characters 6-12 · 1 token · header repeated", "bold"),
        Line("header", "| a |", "magenta"),
        Line("", "| 1 |"),
        Line("", ""),
    ]
    assert list(lines(overlapped.chunks[0][1]))[1:3] == [
        Line("overlap", "three", "yellow"),
        Line("", "four"),
    ]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("\x1b[31mred\x07", "\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}"),
        ("a\u202eb\u2066c", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"),
        ("\tif x:", "    if x:"),
        ("ب\u200cب 👩\u200d👧 é", "ب\u200cب 👩\u200d👧 é"),
    ],
)
def test_text_of_strangers_commands_no_terminal(line: str, shown: str) -> None:
    assert safe(line) == shown


def test_attachments_and_properties_are_told(command: Command) -> None:
    del command
    section = Section(text="one", start=0, properties={"title": "T"})
    document = reading([section, Attached(name="a.pdf", data=b"123")], windows(8))
    chunks = [chunk for found in document.sections() for chunk in found.chunks[0]]

    whole = document.whole(chunks)

    assert (whole.properties, whole.attachments[0].name, whole.attachments[0].size) == (
        {"title": "T"}, "a.pdf", 3,
    )  # fmt: skip


def test_cuts_alike_are_those_inside_of_sections() -> None:
    agreement = Agreement()

    for found in reading(sections("1 2 3 4", "5 6"), windows(2), windows(1)).sections():
        agreement.add(found)

    assert agreement.alike == 1
