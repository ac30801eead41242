"""The storm: `python -m tests.storm`, or `make storm`.

Documents are embedded, changed and deleted while workers are killed and stand still, the database
crashes, the provider refuses and the vector store goes away. When all is done, every invariant is
checked and printed with its figure. The exit status is 1 if one is broken.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import Connection, func, select

from tests.storm.checks import Evidence, check
from tests.storm.clients import FolderClient, UploadClient
from tests.storm.report import facts, table
from tests.storm.site import DATABASES, Options, Process, Site
from tests.storm.weather import Weather
from vectorflow.domain.jobs import BatchState, JobState
from vectorflow.errors import VectorFlowError
from vectorflow.ledger.tables import batches, jobs

TICK_SECONDS = 0.1
PROGRESS_SECONDS = 2.0
CLOCK_SECONDS = 1.0
"""Between two looks at whether all is done."""

PATIENCE = 900.0
"""Seconds beyond the storm's own after which it is taken for hanging."""

WORK_SECONDS = 60.0
"""After which it begins whatever there is to strike."""

WAKE_SECONDS = 2.0
"""In which a process that stood still gets to say what it has to say."""


def parsed(arguments: Sequence[str] | None = None) -> tuple[Options, Path | None]:
    """Read the command line; gives what storm it is and where its figures go."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    add = parser.add_argument
    add("--documents", type=int, default=2000)
    add("--seconds", type=float, default=60, help="it lasts so long at least")
    add("--database", choices=DATABASES, default="sqlite", help="of the ledger")
    add(
        "--broker",
        choices=["none", "redis", "rabbitmq"],
        help="it is purged once; rabbitmq where workers share the ledger",
    )
    add("--workers", type=int, default=4)
    add("--seed", type=int, help="the faults are drawn from it")
    add("--lease", type=float, default=30, help="seconds; below 30 is for short storms")
    add("--kill-every", type=float, default=2, metavar="SECONDS")
    add("--restart-every", type=float, default=10, metavar="SECONDS", help="of the database")
    add("--store-away", type=float, default=20, metavar="SECONDS")
    add("--calm", type=float, metavar="SECONDS", help="the faults stop then, else when all is done")
    add("--json", type=Path, metavar="PATH", help="write the figures there")
    given = vars(parser.parse_args(arguments))
    path: Path | None = given.pop("json")
    if given["seed"] is None:
        given["seed"] = random.SystemRandom().randrange(1 << 30)
    if given["broker"] is None:
        given["broker"] = "none" if given["database"] == "sqlite" else "rabbitmq"
    return Options(**given), path


class Storm:
    """One storm on one site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        count, seed = site.options.documents, site.options.seed
        chances = [random.Random(f"{seed}/{use}") for use in range(3)]  # noqa: S311 - no secrets
        self.weather = Weather(site, chances[0])
        self.folder = FolderClient(site, count // 2, chances[1])
        self.uploads = UploadClient(site, count - count // 2, chances[2])
        self._began = time.monotonic()
        self._told_at = 0.0
        self._looked_at = 0.0
        self._done = False

    def run(self) -> Evidence:
        """Let it blow until all is done, and gather what is known then."""
        self.folder.start()
        self.uploads.start()
        self._wait_for_work()
        self.weather.begin()
        self._began = time.monotonic()
        ended = self._rage()
        last = max(self.weather.last, self.folder.last, self.uploads.last)
        recovery = time.monotonic() - last
        self.weather.calm()
        time.sleep(WAKE_SECONDS)
        ended = self._wait_for_the_end() and ended
        statuses = self._stop()
        self.folder.join()
        self.uploads.join()
        return Evidence(
            site=self.site,
            weather=self.weather,
            folder=self.folder,
            uploads=self.uploads,
            ended=ended,
            recovery=recovery,
            statuses=statuses,
            stats=self.site.stats(),
            texts=self.folder.texts | self.uploads.texts,
        )

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def _wait_for_work(self) -> None:
        """Let it begin when vectors are made: faults that strike idle workers tell little."""
        deadline = time.monotonic() + WORK_SECONDS
        while not self.site.stats()["texts"] and time.monotonic() < deadline:
            time.sleep(TICK_SECONDS)

    def _rage(self) -> bool:
        """Strike until all is done; False if that takes too long."""
        options = self.site.options
        calm = False
        while not self._is_over():
            if options.calm is not None and self.seconds > options.calm and not calm:
                self.weather.calm()
                calm = True
            self.weather.tick()
            self._tell()
            if self.seconds > options.seconds + PATIENCE:
                return False
            time.sleep(TICK_SECONDS)
        return True

    def _is_over(self) -> bool:
        lasted = self.seconds > self.site.options.seconds
        return lasted and self.folder.ended and self.uploads.ended and self._is_done()

    def _is_done(self) -> bool:
        """Whether no job and no batch is open; asked once a second."""
        if time.monotonic() - self._looked_at > CLOCK_SECONDS:
            self._looked_at = time.monotonic()
            self._done = self._open() == 0
        return self._done

    def _open(self) -> int:
        """Count open jobs and batches; -1 while the ledger is away."""
        try:
            return self.site.database.read_now(_open)
        except VectorFlowError:
            return -1

    def _wait_for_the_end(self) -> bool:
        """Wait until what woke up late is cleared away too; the store must be left alone."""
        deadline = time.monotonic() + PATIENCE
        while self._open() != 0:
            if time.monotonic() > deadline:
                return False
            self.weather.see_to_workers()
            self._tell()
            time.sleep(TICK_SECONDS)
        return True

    def _stop(self) -> dict[str, int]:
        """Let everybody end in good order; gives how they did."""
        stopped: list[Process] = [*self.site.workers, self.site.api]
        for worker in self.site.workers:
            worker.wait_until_started()
        statuses = {process.name: process.end(signal.SIGTERM) for process in stopped}
        for submitter in self.folder.submitters:
            statuses[submitter.name] = submitter.wait()
        return statuses

    def _tell(self) -> None:
        """Say on stderr how it goes, on one line."""
        if time.monotonic() - self._told_at < PROGRESS_SECONDS:
            return
        self._told_at = time.monotonic()
        struck = ", ".join(f"{name} {count}" for name, count in self.weather.struck.items())
        sent = self.uploads.accepted
        line = f"{self.seconds:4.0f} s  uploads {sent}, rounds {self.folder.rounds}, {struck}"
        sys.stderr.write(f"{line}, open {self._open()}\n")
        sys.stderr.flush()


def _open(connection: Connection) -> int:
    waiting = select(func.count()).where(batches.c.state.in_([BatchState.READY, BatchState.LEASED]))
    running = select(func.count()).where(jobs.c.state.in_([JobState.RUNNING, JobState.PAUSED]))
    counts = [connection.execute(query).scalar_one() for query in (waiting, running)]
    return sum(counts)


def main() -> int:
    options, path = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what was started, too
    sys.stderr.write(f"storm on {options.database}, seed {options.seed}\n")
    with (
        tempfile.TemporaryDirectory(prefix="vectorflow-storm-") as folder,
        Site(Path(folder), options) as site,
    ):
        storm = Storm(site)
        evidence = storm.run()
        rows = check(evidence)
        faults = facts(evidence)
        held = all(row.held for row in rows)
        if not held:
            sys.stderr.write(f"what all processes said is kept in {site.keep_logs()}\n")
    sys.stdout.write(table(options, faults, rows))
    if path:
        figures = {
            "options": asdict(options),
            "faults": faults,
            "invariants": [asdict(row) for row in rows],
            "held": held,
        }
        path.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
