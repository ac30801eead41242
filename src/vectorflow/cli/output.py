"""Printing: data on stdout, everything else on stderr, and never a traceback unasked."""

import json
import os
import re
import sys
import time
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING, TextIO

import click

from vectorflow.errors import VectorFlowError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from vectorflow.ledger.waits import Waiting


MARGIN = 9
"""Columns of the labels on the left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What went wrong, and what to do."""

    code: str
    message: str
    fix: str


INTERRUPTED = Fault(
    code="interrupted",
    message="interrupted: what is done is kept",
    fix="the same command goes on where it stopped",
)


def fault_of(error: Exception) -> Fault:
    """Describe an error; one that nobody expected by its type alone, as it may quote a text."""
    if isinstance(error, VectorFlowError):
        return Fault(code=error.code, message=error.message, fix=error.fix)
    return Fault(
        code="unexpected",
        message=f"unexpected {type(error).__name__}; this is a fault of VectorFlow",
        fix="run the same command with --debug to see where it happens, and report it",
    )


def usage_fault(error: click.ClickException) -> Fault:
    """Describe what is wrong with the command line."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    fix = getattr(error, "fix", "") or f"see {context.command_path if context else ''} --help"
    message = error.format_message().strip().rstrip(".")
    return Fault(code=getattr(error, "code", "usage"), message=message, fix=fix)


def show_error(fault: Fault, *, as_json: bool) -> None:
    """Print a fault on stderr, and as JSON on stdout if that is what is read."""
    console = stderr()
    lines = fault.message.splitlines() or [""]
    label, style = ("stopped", "yellow") if fault == INTERRUPTED else ("error", "bold red")
    console.print(labelled(label, lines[0], style))
    for line in lines[1:]:
        console.print(labelled("", line))
    if fault.fix:
        console.print(labelled("fix", fault.fix, "green"))
    if as_json:
        print_json({"error": asdict(fault)})


def show_traceback(error: BaseException) -> None:
    """Print where an error came from."""
    import traceback

    sys.stderr.write("".join(traceback.format_exception(error)))


def print_json(value: object) -> None:
    """Print one JSON object on stdout."""
    echo(json.dumps(value, indent=2, ensure_ascii=False, default=_jsonable))


def echo(text: str) -> bool:
    """Print on stdout; a reader that has seen enough is no error, and told by False."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _close_stdout()
        return False
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    return True


def show(renderable: "RenderableType") -> bool:
    """Print something laid out on stdout; False once nobody reads."""
    console = stdout()
    with console.capture() as capture:
        console.print(renderable)
    return echo("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))


def flush() -> None:
    """Write what is left, while somebody can still be told."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _close_stdout()


def stdout() -> "Console":
    """Make a console of stdout."""
    return _console(sys.stdout)


def stderr() -> "Console":
    """Make a console of stderr."""
    return _console(sys.stderr)


def labelled(label: str, text: "RenderableType", style: str = "dim") -> "RenderableType":
    """Lay a text out behind a label in the margin; what wraps stays right of it."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 0))
    grid.add_column(width=MARGIN, no_wrap=True)
    grid.add_column(overflow="fold")
    shown = Text(text) if isinstance(text, str) else text
    grid.add_row(Text(label, style), shown)
    return grid


def plain(text: str) -> str:
    """Make a text of strangers fit for one line of a terminal: no line ends, no escape codes."""
    joined = re.sub(r"\s+", " ", text).strip()
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in joined
    )


def waits(waiting: "Waiting") -> str:
    """Say what is away, and when it is asked again."""
    left = None if waiting.next_try_at is None else max(0.0, waiting.next_try_at - time.time())
    then = "trying now" if left is None else f"next try in {left:.0f} s"
    return plain(f"for {waiting.system}: {waiting.message}; {then}")


def shortened(text: str, length: int) -> str:
    """Cut a text at a word."""
    return text if len(text) <= length else text[: length - 1].rsplit(" ", 1)[0] + "…"


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 file`, `1,200 files`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def _console(stream: TextIO) -> "Console":
    from rich.console import Console

    width = None if stream.isatty() or "COLUMNS" in os.environ else 100
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=width)


def _close_stdout() -> None:
    """Let the end of the process write into nothing."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


def _jsonable(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
