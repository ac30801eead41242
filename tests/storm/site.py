"""The processes of a storm: provider, store, ledger, API, workers and those who submit."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import httpx

from tests import brokers
from tests.mariadb_server import MariaDb, as_account
from tests.storm.documents import CHUNK_TOKENS
from tests.storm.gate import Gate
from tests.storm.postgres import Postgres
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database
from vectorflow.settings import Settings, load, variables
from vectorflow.settings.tree import QueueSettings

ROOT = Path(__file__).parents[2]

DATABASES = ("sqlite", "postgres", "mariadb")

MODEL = "text-embedding-3-small"
DIMENSIONS = 32
CONCURRENCY = 4
"""Requests to the provider that one worker has under way at once."""

STORE_SECONDS = 5.0
PATIENCE = 60.0
"""Seconds after which what should start or stop is taken for hanging."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What storm it is."""

    documents: int
    seconds: float
    """It lasts so long at least; documents are changed and added until then."""
    database: str
    broker: str
    """What wakes workers; "none": they poll."""
    workers: int
    seed: int
    lease: float
    kill_every: float
    restart_every: float
    store_away: float
    calm: float | None
    """Seconds after which the faults stop; None lets them go on until all is done."""


@dataclass(eq=False, slots=True, kw_only=True)
class Process:
    """A process of ours."""

    name: str
    running: "subprocess.Popen[bytes]"
    log: Path
    frozen: bool = False
    peak: int = 0
    """Bytes of memory at most, as far as it was looked at."""

    def look(self) -> None:
        """Note how much memory it took at most."""
        try:
            status = Path(f"/proc/{self.running.pid}/status").read_text("ascii")
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self.peak = max(self.peak, int(line.split()[1]) << 10)

    def wait_until_started(self) -> None:
        """Wait until a worker can be asked to stop."""
        deadline = time.monotonic() + PATIENCE
        while b"worker_started" not in self.log.read_bytes() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.look()

    def end(self, number: signal.Signals) -> int:
        """Send it a signal that ends it, and give its exit status; one that hangs is killed."""
        self.running.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Give its exit status; one that hangs is killed."""
        try:
            return self.running.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.running.kill()
            return self.running.wait()


@dataclass(frozen=True, slots=True)
class Canaries:
    """Secrets that nothing may keep or tell."""

    provider: str = field(default_factory=lambda: f"sk-storm-{secrets.token_hex(12)}")
    api: str = field(default_factory=lambda: f"vf-storm-{secrets.token_hex(12)}")
    store: str = field(default_factory=lambda: f"pw-storm-{secrets.token_hex(12)}")
    ledger: str = field(default_factory=lambda: f"pw-storm-{secrets.token_hex(12)}")
    broker: str = brokers.PASSWORD


class Site:
    """Everything that the storm blows upon; entered, it is ready for the first document.

    With a ledger in SQLite the workers reach only the API; else they share the ledger.
    """

    def __init__(self, root: Path, options: Options) -> None:
        self.root = root
        self.options = options
        self.canaries = Canaries()
        self.workers: list[Process] = []
        self.all: list[Process] = []
        self.docs = root / "docs"
        self.broker: brokers.Backdoor | None = None
        self.api_url = ""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.postgres = stack.enter_context(Postgres())
            self._store = self.postgres.make_database("store")
            self.gate = stack.enter_context(Gate(self.postgres.socket))
            self.server = self._ledger_server(stack)
            stack.callback(self._kill_all)
            if self.server:
                made = self.server.make_database("ledger")
                user = urlsplit(made).username or ""
                self._ledger = as_account(made, user, self.canaries.ledger)
            if url := stack.enter_context(self._started_broker()):
                self.broker = brokers.Backdoor(url, QueueSettings().prefix)
            self.docs.mkdir()
            self.provider = self._start_provider()
            self.database = Database(self.settings.database_url)
            stack.callback(self.database.close)
            schema.upgrade(self.database)
            self.api = self._start("api", self._environ(self.facts))
            self._wait(self._api_answers, self.api)
            self._stack = stack.pop_all()
        for worker in [self.start_worker() for _ in range(self.options.workers)]:
            worker.wait_until_started()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def shared(self) -> bool:
        """Whether the workers share the ledger."""
        return self.options.database != "sqlite"

    @property
    def servers(self) -> dict[str, Postgres | MariaDb]:
        """All that hold anything, by name."""
        own = {"MariaDB": self.server} if isinstance(self.server, MariaDb) else {}
        return {"PostgreSQL": self.postgres, **own}

    @property
    def facts(self) -> dict[str, object]:
        """Settings of all who reach the ledger, by dotted name."""
        place = urlsplit(self._store)
        address = f"postgres:{self.canaries.store}@127.0.0.1:{self.gate.port}"
        shared = {"database.url": self._ledger} if self.shared else {}
        woken = {"queue.url": self.broker.url} if self.broker else {}
        return {
            **self._work_facts,
            **shared,
            **woken,
            "data_dir": self.root / "data",
            "store": place._replace(netloc=address, query="").geturl(),
            "index": "storm",
            "embedder": f"openai:{MODEL}@{DIMENSIONS}",
            "chunking.size": CHUNK_TOKENS,
            "chunking.overlap": CHUNK_TOKENS // 8,
            "openai.key": self.canaries.provider,
            "openai.base_url": self.provider,
            "api.port": 0,
            "api.key": self.canaries.api,
        }

    @property
    def settings(self) -> Settings:
        return load(self.facts, environ={})

    @property
    def _work_facts(self) -> dict[str, object]:
        """Settings of workers that reach only the API; the rest is lent to them."""
        return {
            "openai.concurrency": CONCURRENCY,
            "openai.timeout": 10,
            "worker.batches": 8,
            "worker.lease_seconds": max(30.0, self.options.lease),
            "worker.store_timeout": STORE_SECONDS,
            "worker.shutdown_grace": 10,
        }

    def start_worker(self) -> Process:
        """Start one more worker; it is not waited for."""
        reach: dict[str, object] = {"server.url": self.api_url, "server.key": self.canaries.api}
        elsewhere = {**self._work_facts, **reach, "data_dir": self.root / "elsewhere"}
        facts = self.facts if self.shared else elsewhere
        witness = ["--witness", str(self.root / "witness")]
        worker = self._start("worker", self._environ(facts), flags=witness)
        self.workers.append(worker)
        return worker

    def start_submitter(self) -> Process:
        """Start a process that submits the folder and waits for the end of its job."""
        return self._start(
            "embed", self._environ(self.facts), str(self.docs), "--json", flags=["--only-submit"]
        )

    def stats(self) -> Mapping[str, object]:
        """Ask the provider what it was asked."""
        origin = self.provider.removesuffix("/v1")
        answer = httpx.get(f"{origin}/stats", timeout=30)
        found: dict[str, object] = answer.raise_for_status().json()
        return found

    def _ledger_server(self, stack: ExitStack) -> Postgres | MariaDb | None:
        """Give the server that is to hold the ledger; None for SQLite."""
        if self.options.database == "mariadb":
            return stack.enter_context(MariaDb())
        return self.postgres if self.shared else None

    def keep_logs(self) -> Path:
        """Copy what processes and servers said to a folder that stays, and give it."""
        folder = Path(tempfile.mkdtemp(prefix="vectorflow-storm-logs-"))
        logs = {process.name: process.log for process in self.all}
        logs |= {name: server.log for name, server in self.servers.items()}
        for name, log in logs.items():
            shutil.copyfile(log, folder / f"{name}.log")
        return folder

    @contextmanager
    def _started_broker(self) -> Generator[str | None]:
        """Start a message broker and give its URL."""
        if self.options.broker == "rabbitmq":
            with brokers.rabbit_node() as node:
                yield node.url
        elif self.options.broker == "redis":
            with brokers.redis_server(self.root) as url:
                yield url
        else:
            yield None

    def _start_provider(self) -> str:
        """Start the fake provider and give its base URL."""
        faults = ["--fault", "throttled=0.3", "--fault", "error_500=0.05"]
        command = [
            sys.executable, "-m", "vectorflow.testing.provider", *faults, "--seed",
            str(self.options.seed), "--key", self.canaries.provider, "--latency", "0.1",
            "--retry-after", "0.3",
        ]  # fmt: skip
        process = self._run("provider", command, {})
        self._wait(lambda: b"\n" in process.log.read_bytes(), process)
        return process.log.read_text("utf-8").splitlines()[0]

    def _start(
        self, verb: str, environ: Mapping[str, str], *arguments: str, flags: Sequence[str] = ()
    ) -> Process:
        lease = ["--lease", str(self.options.lease)]
        command = [
            sys.executable, "-m", "tests.storm.launch", *lease, *flags, "--", verb, *arguments,
        ]  # fmt: skip
        return self._run(verb, command, environ)

    def _run(self, verb: str, command: Sequence[str], environ: Mapping[str, str]) -> Process:
        name = f"{verb}-{len(self.all) + 1}"
        log = self.root / f"{name}.log"
        inherited = {key: value for key, value in os.environ.items() if _is_neutral(key)}
        with log.open("wb") as output:
            running = subprocess.Popen(
                command,
                env=inherited | {"PYTHONPATH": str(ROOT)} | dict(environ),
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        process = Process(name=name, running=running, log=log)
        self.all.append(process)
        return process

    def _environ(self, facts: Mapping[str, object]) -> dict[str, str]:
        known = variables()
        return {known[name]: str(value) for name, value in facts.items()}

    def _api_answers(self) -> bool:
        """Read its address from what it prints once it listens."""
        said = re.search(r"http://127\.0\.0\.1:\d+", self.api.log.read_text("utf-8"))
        if said is None:
            return False
        self.api_url = said[0]
        try:
            return httpx.get(f"{self.api_url}/livez", timeout=5).is_success
        except httpx.TransportError:
            return False

    def _wait(self, condition: Callable[[], bool], process: Process) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if process.running.poll() is not None or time.monotonic() > deadline:
                said = process.log.read_text("utf-8", "replace")
                message = f"{process.name} did not start:\n{said}"
                raise RuntimeError(message)
            time.sleep(0.05)

    def _kill_all(self) -> None:
        for process in self.all:
            if process.running.poll() is None:
                process.running.kill()
                process.running.wait()


def _is_neutral(variable: str) -> bool:
    """Whether a variable of our own environment changes no setting."""
    prefixes = ("VECTORFLOW_", "POSTGRES_", "OPENAI_", "OPEN_AI_", "PG")
    names = {"API_REQUEST_URL", "DATABASE_URL", "INTERNAL_API_KEY"}
    return not variable.startswith(prefixes) and variable not in names
