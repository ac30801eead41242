import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from tests.acceptance.cli_process import COMMAND, environment, vectorflow

ROOT = Path(__file__).parents[2]
HANDBOOK = ROOT / "examples" / "documents" / "keepers-handbook.md"
LAMP = HANDBOOK.parent / "light" / "the-lamp.md"
LOCAL = "local:all-MiniLM-L6-v2"
FIELDS = ("position", "start", "end", "page", "headings", "text")


def test_chunks_are_exactly_those_that_an_embed_stores(tmp_path: Path) -> None:
    how = (str(HANDBOOK), "--chunk-size", "48", "--chunk-overlap", "12")
    stored = vectorflow(tmp_path, "embed", *how, "--out", "-")

    shown = vectorflow(tmp_path, "chunks", *how, "--json")

    chunks = shown.json["chunks"]
    assert isinstance(chunks, list)
    assert [{field: chunk[field] for field in FIELDS} for chunk in chunks] == [
        {field: row[field] for field in FIELDS} for row in map(json.loads, stored.out.splitlines())
    ]
    assert len(chunks) == 20


def test_the_documentation_shows_what_is_printed(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "see-the-chunks.md").read_text("utf-8")
    sample = page.split("\n```\n")[2].strip("\n")
    how = ("--size", "80", "--overlap", "20", "--embedder", LOCAL)

    ran = vectorflow(tmp_path, "chunks", str(LAMP), *how)

    assert sample.startswith("      2  The lamp > If the main lamp goes out")
    assert sample in ran.out


def test_neither_ledger_nor_store_nor_model_is_touched(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Lamp\n\nOil it.\n", encoding="utf-8")
    code = (
        "import sys; from vectorflow.cli.main import run; code = run(['chunks', 'a.md']); "
        "loaded = {'openvino', 'onnxruntime', 'lancedb'} & set(sys.modules); "
        "sys.exit(code or (str(loaded) if loaded else 0))"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(VECTORFLOW_EMBEDDER=LOCAL),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ran.returncode, "Oil it." in ran.stdout) == (0, True)
    assert "chunks of 254 tokens, overlap 31" in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.md"]


def test_a_page_on_stdout_is_alone_there(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Lamp\n\n<script>\n", encoding="utf-8")

    ran = vectorflow(tmp_path, "chunks", "a.md", "--html", "-")

    assert ran.code == 0
    assert ran.out.startswith("<!doctype html>\n")
    assert ran.out.endswith("</html>\n")
    assert "&lt;script&gt;" in ran.out
    assert "median" in ran.err


def big(folder: Path) -> Path:
    path = folder / "big.txt"
    with path.open("w", encoding="utf-8") as file:
        for number in range(120_000):
            file.write(f"Sentence number {number} is about the lamp and the horn.\n\n")
    return path


def test_a_reader_that_has_seen_enough_ends_it(tmp_path: Path) -> None:
    big(tmp_path)

    with subprocess.Popen(
        [*COMMAND, "chunks", "big.txt"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.read(60)
        process.stdout.close()
        said = process.stderr.read().decode()

    assert first.startswith(b"      0  characters 0-")
    assert process.returncode == 0
    assert len(said.splitlines()) == 1


def test_ctrl_c_is_quiet(tmp_path: Path) -> None:
    big(tmp_path)

    with subprocess.Popen(
        [*COMMAND, "chunks", "big.txt"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(60)
        process.send_signal(signal.SIGINT)
        while process.stdout.read(1 << 16):
            pass
        said = process.stderr.read().decode()

    assert process.returncode == 130
    assert len(said.splitlines()) == 1


def test_a_terminal_gets_colours_and_no_codes_of_the_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Red \x1b[31m? One two three.\n", encoding="utf-8")
    leader, follower = pty.openpty()

    process = subprocess.Popen(
        [*COMMAND, "chunks", "a.txt"],
        cwd=tmp_path,
        env=environment(TERM="xterm-256color", COLUMNS="60"),
        stdout=follower,
        stderr=subprocess.DEVNULL,
    )
    assert process.wait(timeout=60) == 0
    os.close(follower)
    shown = os.read(leader, 1 << 16).decode()
    os.close(leader)

    assert "\x1b[1m" in shown
    assert "\x1b[31m" not in shown
    assert "Red \N{REPLACEMENT CHARACTER}[31m?" in shown
