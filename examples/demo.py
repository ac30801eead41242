"""The demonstration, `make demo`: a lighthouse keeper's handbook becomes searchable by meaning.

It runs on this machine alone, with the defaults that need no account and no server: a local model,
LanceDB and SQLite. All it writes is in `.vectorflow-demo`. Run it as often as you like.
"""

import shutil
from pathlib import Path

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

import vectorflow as vf
from vectorflow.flow import Progress as Stand
from vectorflow.flow import Report
from vectorflow.service.search import Hit
from vectorflow.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".vectorflow-demo"
DOCUMENTS = HOME / "documents"
VISITORS = DOCUMENTS / "visitors" / "day-visitors.md"

QUESTIONS = ("What do I do when the light fails?", "toxic metal on the floor")
DOGS = "May I bring my dog?"
RULE = "Dogs are welcome on the landing and in the garden on a lead."
NEW_RULE = "Since this summer dogs stay ashore: one of them ate a tern."
SHOWN_HITS = 2
SHOWN_CHARACTERS = 230
NEXT_STEPS = (
    (
        "ask it something else",
        f'.venv/bin/vectorflow search "who built it?" --data-dir {HOME.name}',
    ),
    ("embed files of your own; run it twice", ".venv/bin/vectorflow embed docs"),
    ("serve it over HTTP, with a key", f".venv/bin/vectorflow up --data-dir {HOME.name}"),
    ("see for yourself that it keeps its promises", "make test"),
)

console = Console(highlight=False)


def main() -> None:
    """Tell the story from start to end."""
    shutil.copytree(ROOT / "examples" / "documents", DOCUMENTS, dirs_exist_ok=True)
    console.print(
        "\n[bold]VectorFlow[/]  a lighthouse keeper's handbook becomes searchable by meaning"
    )
    console.print("[dim]on this machine alone: a local model, LanceDB, SQLite[/]")
    # The defaults, whatever the environment of this shell says.
    with vf.open(Settings(data_dir=HOME, embedder="local:all-MiniLM-L6-v2")) as flow:
        show_first_run(flow)
        show_searches(flow)
        show_second_run(flow)
        show_change(flow)
    show_next_steps()


def show_first_run(flow: vf.Flow) -> None:
    """Embed a directory."""
    headline(1, "Embed a directory", "text, Markdown and more, English and German")
    report = embed(flow)
    if report.chunks_embedded == 0:
        line("note", "it is all there from last time; `make clean` makes it forget")


def show_searches(flow: vf.Flow) -> None:
    """Ask questions that share few words with their answers."""
    headline(2, "Search by meaning", "question and answer need not share a word")
    for question in QUESTIONS:
        ask(flow, question)


def show_second_run(flow: vf.Flow) -> None:
    """Embed the same directory again."""
    headline(3, "Run it again", "what did not change costs nothing")
    embed(flow)


def show_change(flow: vf.Flow) -> None:
    """Change one sentence, ask, and put it back."""
    headline(4, "Change one sentence", "one chunk is new; its old text is gone")
    before = VISITORS.read_text("utf-8")
    VISITORS.write_text(before.replace(RULE, NEW_RULE), "utf-8")
    indented(f"[red]- {RULE}[/]\n[green]+ {NEW_RULE}[/]")
    embed(flow)
    console.print()
    ask(flow, DOGS, k=1)
    VISITORS.write_text(before, "utf-8")
    headline(5, "Put it back", "its vector is still known: no text is embedded twice")
    embed(flow)


def embed(flow: vf.Flow) -> Report:
    """Embed the documents with a bar, and say what that took."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    watched = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not watched) as bar:
        task = bar.add_task("reading")

        def on_progress(stand: Stand) -> None:
            if job := stand.job:
                told = f"embedding  {counted(job.chunks_embedded, 'chunk')}"
                bar.update(task, description=told, total=job.docs_total, completed=job.docs_done)

        report = flow.embed(DOCUMENTS, on_progress=on_progress)
    line("files", f"{report.new} new, {report.changed} changed, {report.unchanged} unchanged")
    chunks = counted(report.chunks_embedded, "chunk")
    line("cost", f"{chunks} embedded in {counted(report.embedding_calls, 'run')} of the model")
    deleted = f", {counted(report.records_old, 'stale one')} deleted" if report.records_old else ""
    line("index", f"{counted(report.records, 'record')}{deleted}")
    line("time", f"[bold]{report.seconds:.2f} s[/]")
    return report


def ask(flow: vf.Flow, question: str, k: int = SHOWN_HITS) -> None:
    """Show a question with what is found."""
    indented(f"[bold cyan]{question}[/]")
    hits = Table.grid(padding=(0, 2, 1, 0))
    for hit in flow.search(question, k=k):
        place = " > ".join((hit.document.external_id, *hit.chunk.headings[1:]))
        hits.add_row(
            f"[bold]{hit.score:.2f}[/]", Text.assemble((place, "green"), "\n", beginning(hit))
        )
    indented(hits)


def beginning(hit: Hit) -> str:
    """Give the first sentences of a chunk, without its heading."""
    text = " ".join(row for row in hit.text.splitlines() if row and not row.startswith("#"))
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return text[:SHOWN_CHARACTERS].rsplit(" ", 1)[0] + " …"


def show_next_steps() -> None:
    """Print lines to copy."""
    console.print("\n[bold]Now you[/]  [dim]copy a line[/]\n")
    for why, command in NEXT_STEPS:
        console.print(f"[dim]# {why}[/]\n{command}", soft_wrap=True)


def headline(number: int, what: str, why: str) -> None:
    """Begin a step."""
    console.print(f"\n[bold]{number}  {what}[/]  [dim]{why}[/]\n")


def line(name: str, told: str) -> None:
    """Say one thing under its name."""
    console.print(f"   [dim]{name:6}[/] {told}")


def indented(shown: RenderableType) -> None:
    """Print below a headline."""
    console.print(Padding(shown, (0, 0, 1, 3), expand=False))


def counted(number: int, what: str) -> str:
    """Count something: 1 chunk, 2 chunks."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


if __name__ == "__main__":
    main()
