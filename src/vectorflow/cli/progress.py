"""How far an embed is: bars on a terminal, a line now and then elsewhere."""

import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from vectorflow.cli import output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from vectorflow.flow import Progress
    from vectorflow.ledger.reads import JobProgress, JobView
    from vectorflow.service.submit import Scan

BAR = 20
TEXT = 31
PLAIN_SECONDS = 10.0
"""Between two lines where there is no terminal."""
REFRESHES = 8
STOPPING = "stopping: what is under way ends or is handed back; Ctrl-C again stops at once"


class Display(Protocol):
    """Shows how far an embed is."""

    def update(self, progress: "Progress") -> None:
        """Take in what is new; called from another thread."""
        ...

    def wrote(self, records: int) -> None:
        """Take in how many records are in the file of `--out` by now."""
        ...

    def stop(self) -> None:
        """Say that it is being stopped; called from a signal handler."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the display."""

    label: str
    text: str
    done: float | None = None
    """Share of the bar that is full; None for no bar."""
    note: str = ""
    is_fault: bool = False
    """The note tells of something bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that is known so far."""

    scan: "Scan | None" = None
    job: "JobView | None" = None
    work: "JobProgress | None" = None
    embedded: int = 0
    embedding_for: float = 0.0
    """Seconds since the first chunk was embedded."""
    written: int | None = None
    """Records in the file of `--out`."""

    def after(self, progress: "Progress") -> "State":
        """Add what is new."""
        return replace(
            self,
            scan=progress.scan or self.scan,
            job=progress.job or self.job,
            work=progress.work or self.work,
            embedded=max(progress.embedded, self.embedded),
        )


def lines(state: State) -> list[Line]:
    """Lay out what is known."""
    if state.scan is None and state.job is None:
        return [Line(label="scan", text="looking for files")]
    scan = [] if state.scan is None else [_scan(state.scan, state.job)]
    return [*scan, *_extract(state), *_embed(state), *_out(state), *_waits(state)]


@contextmanager
def display() -> Generator[Display]:
    """Show progress on stderr until the block ends."""
    console = output.stderr()
    if not console.is_terminal or console.is_dumb_terminal:
        yield _Sparse()
        return
    from rich.live import Live

    shown = _Bars(console)
    with Live(
        get_renderable=shown.render,
        console=console,
        refresh_per_second=REFRESHES,
        redirect_stdout=False,
    ):
        yield shown


class _Watched:
    """Gathers the state, and when embedding began."""

    def __init__(self) -> None:
        self._state = State()
        self._began: float | None = None

    def state(self) -> State:
        """Give the state with its clock."""
        now = time.monotonic()
        return replace(self._state, embedding_for=now - (self._began or now))

    def take(self, progress: "Progress") -> None:
        self._state = self._state.after(progress)
        if self._began is None and self._state.embedded:
            self._began = time.monotonic()

    def wrote(self, records: int) -> None:
        self._state = replace(self._state, written=records)


class _Bars(_Watched):
    """Draws on a terminal; `render` is called by the drawing thread."""

    def __init__(self, console: "Console") -> None:
        super().__init__()
        self._unicode = console.encoding.lower().startswith("utf")
        self._stopping = False

    def update(self, progress: "Progress") -> None:
        self.take(progress)

    def stop(self) -> None:
        self._stopping = True

    def render(self) -> "Text":
        from rich.text import Text

        drawn = [drawing(line, unicode=self._unicode) for line in lines(self.state())]
        if self._stopping:
            drawn.append(Text(STOPPING, "yellow"))
        return Text("\n", no_wrap=True, overflow="ellipsis").join(drawn)


class _Sparse(_Watched):
    """Writes whole lines, for logs and pipes."""

    def __init__(self) -> None:
        super().__init__()
        self._told_at = time.monotonic()
        self._scanned = False

    def update(self, progress: "Progress") -> None:
        self.take(progress)
        known = lines(self.state())
        now = time.monotonic()
        if progress.job is not None and not self._scanned:
            self._scanned = True
            self._tell(known[:1])
        elif now - self._told_at > PLAIN_SECONDS:
            self._told_at = now
            self._tell(known[-1:])

    def wrote(self, records: int) -> None:
        super().wrote(records)
        if time.monotonic() - self._told_at > PLAIN_SECONDS:
            self._told_at = time.monotonic()
            self._tell(lines(self.state())[-1:])

    def stop(self) -> None:
        os.write(sys.stderr.fileno(), f"{STOPPING}\n".encode())

    def _tell(self, told: list[Line]) -> None:
        for line in told:
            sys.stderr.write(f"{line.label:<9}{line.text}   {line.note}".rstrip() + "\n")


def drawing(line: Line, *, unicode: bool) -> "Text":
    """Draw a line: label, bar, text, note."""
    from rich.text import Text

    drawn = Text(f"{line.label:<9}", "dim", no_wrap=True)
    if line.done is not None:
        full, empty = ("█", "░") if unicode else ("#", ".")
        filled = int(BAR * min(1.0, line.done))
        drawn.append(full * filled, "cyan").append(empty * (BAR - filled), "dim").append("  ")
    drawn.append(f"{line.text:<{TEXT}}" if line.note else line.text, "default")
    return drawn.append(line.note, "red" if line.is_fault else "dim")


def _scan(scan: "Scan", job: "JobView | None") -> Line:
    if job is None:
        facts = {"to embed": scan.accepted, "unchanged": scan.unchanged}
        files = f"{scan.seen:,}/{scan.documents:,} files"
    else:
        facts = {
            "new": job.documents_new,
            "changed": job.documents_changed,
            "unchanged": job.documents_unchanged,
            "gone": job.documents_gone,
        }
        files = output.count(scan.documents, "file")
    told = [files, *(f"{number:,} {name}" for name, number in facts.items() if number)]
    return Line(label="scan", text="   ".join(told))


def _extract(state: State) -> list[Line]:
    if state.job is None or not (todo := state.job.documents_new + state.job.documents_changed):
        return []
    failed = state.job.docs_failed
    extracted = state.work.extracted if state.work else 0
    done = todo if state.job.state.ended else min(todo, extracted + failed)
    return [
        Line(
            label="extract",
            text=f"{done:,}/{todo:,} files",
            done=done / todo,
            note=f"{failed:,} failed" if failed else "",
            is_fault=True,
        )
    ]


def _embed(state: State) -> list[Line]:
    total = state.work.chunks if state.work else 0
    if not total:
        waiting = Line(label="embed", text=output.count(state.embedded, "chunk"))
        return [waiting] if state.embedded else []
    stored = state.job.records_new if state.job else 0
    done = min(total, max(stored, state.embedded))
    ended = state.job is not None and state.job.state.ended
    text = f"{done:,}/{total:,} chunks"
    if ended and state.job is not None and (cached := stored - state.job.chunks_embedded) > 0:
        text += f"   ({cached:,} cached)"
    left = "" if ended else _left(done, total, state.embedding_for)
    return [Line(label="embed", text=text, done=done / total, note=left)]


def _waits(state: State) -> list[Line]:
    if state.job is None or state.job.state.ended or not state.job.waiting:
        return []
    return [Line(label="waits", text=output.waits(state.job.waiting))]


def _out(state: State) -> list[Line]:
    if state.written is None:
        return []
    return [Line(label="out", text=output.count(state.written, "record"))]


def _left(done: int, total: int, seconds: float) -> str:
    """Guess the time left, once there is enough to go by."""
    if not done or done == total or seconds < 1:
        return ""
    left = round(seconds * (total - done) / done)
    return f"{left // 60}:{left % 60:02d} left"
