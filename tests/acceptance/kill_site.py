"""A data directory with documents, and the processes that work on it."""

import multiprocessing
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, Select, select

import vectorflow as vf
from tests.acceptance import corpus, invariants, kill_at
from vectorflow.domain.jobs import JobState
from vectorflow.flow import EmbedOptions, Flow, Report
from vectorflow.ledger.database import Database
from vectorflow.ledger.tables import attempts, jobs
from vectorflow.settings import Settings, load, variables

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([kill_at.__name__, *kill_at.IMPORTED])
"""Processes are forked from one that has imported what all of them need, which takes a second."""

PATIENCE = 90.0
"""Seconds after which a process is taken for hanging."""


@dataclass(slots=True, kw_only=True)
class Site:
    """What is expected of it is kept beside: `texts` by external id."""

    root: Path
    options: dict[str, object] = field(default_factory=dict)
    """Settings by dotted name."""
    texts: dict[str, str] = field(default_factory=dict)
    folder: str = "docs"
    _started: int = 0

    @property
    def docs(self) -> Path:
        return self.root / self.folder

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def settings(self) -> Settings:
        return load({"data_dir": self.data, "embedder": "hash:384"} | self.options, environ={})

    def write(self, texts: Mapping[str, str]) -> None:
        """Write documents and expect them."""
        corpus.write(self.docs, texts)
        self.texts |= texts

    def delete(self, names: Sequence[str]) -> None:
        """Delete documents and expect them no more."""
        for name in names:
            (self.docs / name).unlink()
            del self.texts[name]

    def open(self) -> Flow:
        return vf.open(self.settings)

    def embed(self, options: EmbedOptions | None = None) -> Report:
        """Embed the documents in this process, to the end."""
        with self.open() as flow:
            return flow.embed(self.docs, options=options)

    def check(self, *more: Mapping[str, str]) -> None:
        invariants.check(self.settings, self.texts, *more)

    def start(
        self, *arguments: str, seam: str = "none", nth: int = 1, flags: Sequence[str] = ()
    ) -> "Process":
        """Start the command line, to be killed at the N-th passage of a seam; it is imported."""
        self._started += 1
        log = self.root / f"process-{self._started}.log"
        ready = self.root / f"process-{self._started}.ready"
        options = ["--ready", str(ready), *flags, seam, str(nth), "--", *arguments]
        place = kill_at.Place(cwd=self.root, environ=self._environ(), log=log)
        running = FORKS.Process(target=kill_at.run, args=(options, place), daemon=False)
        running.start()
        process = Process(running=running, log=log)
        wait_for(lambda: ready.exists() or not running.is_alive(), "its start", process)
        return process

    def run_killed(self, seam: str, nth: int = 1, *, flags: Sequence[str] = ()) -> None:
        """Embed the documents in a process that must die at the N-th passage of a seam."""
        process = self.start("embed", str(self.docs), seam=seam, nth=nth, flags=flags)
        status = process.wait()
        assert status == -signal.SIGKILL, f"{seam} was not passed {nth} times:\n{process.said()}"

    def read(self, query: Select[Any]) -> list[Row[Any]]:
        """Ask the ledger."""
        database = Database(self.settings.database_url)
        try:
            return database.read_now(lambda connection: list(connection.execute(query)))
        finally:
            database.close()

    def is_busy(self) -> bool:
        """Whether a job has not ended, or leaves something to be cleared away."""
        rows = self.read(select(jobs.c.state, jobs.c.cleanup_open))
        return any(row.cleanup_open or not JobState(row.state).ended for row in rows)

    def outcomes(self) -> Counter[str]:
        """Count tries by how they ended."""
        return Counter(row.outcome for row in self.read(select(attempts.c.outcome)))

    def chunks_embedded(self) -> int:
        """Count the texts that a model was asked for, ever."""
        return sum(row.chunks_embedded for row in self.read(select(attempts.c.chunks_embedded)))

    def lose_store(self) -> None:
        """Remove all that was stored, as somebody with a shell might."""
        shutil.rmtree(self.data / "vectors")

    def _environ(self) -> dict[str, str]:
        names = variables()
        own = {"data_dir": self.data, "embedder": "hash:384"} | self.options
        kept = {name: value for name, value in os.environ.items() if "VECTORFLOW_" not in name}
        return kept | {names[name]: str(value) for name, value in own.items()}


class Snapshot:
    """The state of a site, to begin from again and again; indexes are bound to its folder."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._texts = dict(site.texts)
        self._copy = site.root.with_name(f"{site.root.name}-snapshot")
        shutil.copytree(site.root, self._copy)

    def restored(self) -> Site:
        """Put everything back as it was."""
        shutil.rmtree(self._site.root)
        shutil.copytree(self._copy, self._site.root)
        return replace(self._site, texts=dict(self._texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A running command line."""

    running: ForkServerProcess
    log: Path

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it has not ended."""
        if self.running.exitcode is None:
            assert self.running.pid is not None
            os.kill(self.running.pid, number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Give the exit status; negative is the signal that killed it."""
        self.running.join(seconds)
        if self.running.exitcode is None:
            self.end()
            pytest.fail(f"hangs:\n{self.said()}")
        return self.running.exitcode

    def end(self) -> None:
        """Kill it if it still runs."""
        self.running.kill()
        self.running.join()

    def is_stopped(self) -> bool:
        """Whether it stands still after SIGSTOP."""
        status = Path(f"/proc/{self.running.pid}/stat").read_text("ascii")
        return status.rpartition(")")[2].split()[0] == "T"

    def wait_until_it_says(self, words: str) -> None:
        wait_for(lambda: words in self.said(), words, self)

    def errors(self) -> int:
        """Count the sentences that say what went wrong; logs are not among them."""
        return sum(line.startswith("error ") for line in self.said().splitlines())

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")


def wait_for(condition: Callable[[], bool], what: str, *processes: Process) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            said = "\n".join(process.said() for process in processes)
            raise AssertionError(f"waited in vain for {what}\n{said}")
        time.sleep(0.02)
