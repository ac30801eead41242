"""How soon the API answers and a search ends while all cores embed and a large upload runs.

The uploads and the searches run in processes of their own:

    python -m benchmarks.latency upload URL FILE SECONDS
    python -m benchmarks.latency search DATA SECONDS
"""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import httpx

from benchmarks import corpus
from benchmarks.measuring import Goal, Options, Result, Row, answer_of, environment, middle
from benchmarks.served import LOCAL, STORE, Server, serving, status, upload, wait
from benchmarks.watching import children_of, cpu_seconds_of, progress

KEY = "BENCHMARK_KEY"
READY = "ready"
BLOCK_BYTES = 1 << 20
BLOCKS_A_SECOND = 20
"""A client on a fast line; as fast as loopback allows, an upload would be over at once."""
PROBE_SECONDS = 0.02
SEARCH_SECONDS = 0.1
LONGEST_SECONDS = 300.0
QUESTIONS = ("how is an attribute looked up?", "operator precedence", "what does a context manage?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What answers took, in milliseconds."""

    samples: int
    p50: float
    p99: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What was asked at the same time."""

    status: Latency
    alive: Latency
    search: Latency
    uploads: int
    """Large ones that ended."""
    worker_cores: float
    """Cores that the worker kept busy."""


def measure(options: Options) -> Result:
    """Ask with nothing to do, then under load."""
    seconds, megabytes, backlog = (8, 20, 1.5e6) if options.quick else (40, 100, 6e6)
    texts = corpus.files(int(backlog), options.data / "corpus")
    known = corpus.files(200_000, options.data / "known")
    large = _large(texts, megabytes * 1_000_000, options.data / "large.txt")
    limit = str(2 * megabytes * 1_000_000)
    data = options.data / "data"
    with (
        serving("up", data, VECTORFLOW_API__MAX_BATCH_BYTES=limit) as server,
        server.client() as client,
    ):
        job = _upload_all(client, known)
        wait(client, job, LONGEST_SECONDS)
        progress(f"asking for {seconds} s with nothing to do")
        idle = _ask(server, job, seconds, data, None)
        job = _upload_all(client, texts)
        progress(f"asking for {seconds} s under load")
        loaded = _ask(server, job, seconds, data, large)
    return Result(
        table=_table(idle, loaded),
        figures={"idle": asdict(idle), "loaded": asdict(loaded)},
        goals=[Goal(what="status p99 under load, ms", value=loaded.status.p99, at_most=50)],
        summary=(
            f"latency: while all cores embed and {megabytes} MB come in, a status takes"
            f" {loaded.status.p50} ms (p99 {loaded.status.p99}), a search"
            f" {loaded.search.p50:,.0f} ms (p99 {loaded.search.p99:,.0f})"
        ),
        notes=[
            str(texts),
            f"{loaded.uploads} whole uploads of {megabytes} MB at {BLOCKS_A_SECOND} MiB/s in a row",
            f"the worker kept {loaded.worker_cores} cores busy; its priority is low",
            "searches: by the Python API in a process of its own, the query embedded there",
        ],
    )


def _upload_all(client: httpx.Client, texts: corpus.Corpus) -> int:
    """Send files one by one and give the last job."""
    return [upload(client, path) for path in texts.paths][-1]


def _ask(server: Server, job: int, seconds: float, data: Path, large: Path | None) -> Answers:
    """Ask for status and life in turns while others search and upload."""
    (worker,) = children_of(server.pid)
    searching = _start("search", data, str(seconds))
    uploading = _start("upload", server.url, large or "", str(seconds), **{KEY: server.key})
    took: dict[str, list[float]] = {"status": [], "alive": []}
    with server.client() as client:
        used, began = cpu_seconds_of(worker), time.monotonic()
        while time.monotonic() - began < seconds:
            took["status"].append(_timed(lambda: status(client, job)))
            took["alive"].append(_timed(lambda: client.get("/livez").raise_for_status()))
            time.sleep(PROBE_SECONDS)
        spent = cpu_seconds_of(worker) - used
        cores = spent / (time.monotonic() - began)
    searches, uploads = answer_of(searching), answer_of(uploading)
    return Answers(
        status=_latency(took["status"]),
        alive=_latency(took["alive"]),
        search=Latency(**{**searches, "samples": int(searches["samples"])}),
        uploads=int(uploads["uploads"]),
        worker_cores=round(cores, 2),
    )


def _start(*arguments: str | Path, **variables: str) -> "subprocess.Popen[str]":
    """Start a process and wait until it begins: loading must not count."""
    command = [sys.executable, "-m", "benchmarks.latency", *arguments]
    env = environment(**variables)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)  # noqa: S603
    next(iter(process.stdout or ()))
    return process


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _latency(seconds: Sequence[float]) -> Latency:
    ordered = sorted(1000 * one for one in seconds)
    return Latency(
        samples=len(ordered),
        p50=middle(ordered, 2),
        p99=round(ordered[math.ceil(0.99 * len(ordered)) - 1], 2),
        most=round(ordered[-1], 2),
    )


def _large(texts: corpus.Corpus, size: int, path: Path) -> Path:
    once = b"".join(one.read_bytes() for one in texts.paths)
    with path.open("wb") as file:
        for at in range(0, size, len(once)):
            file.write(once[: size - at])
    return path


def upload_for(url: str, file: str, seconds: str) -> None:
    """Send a file again and again, at the pace of a fast line; nothing where no file is named."""
    print(READY, flush=True)
    ends, done = time.monotonic() + float(seconds), 0
    if file:
        with httpx.Client(base_url=url, headers={"Authorization": os.environ[KEY]}) as client:
            for number in count():
                if not _paced_upload(client, Path(file), number, ends):
                    break
                done += 1
    print(json.dumps({"uploads": done}))


def _paced_upload(client: httpx.Client, path: Path, number: int, ends: float) -> bool:
    """Send a file, or a part of it where time is over; tell whether it was all."""
    boundary = f"vectorflow-{number}"
    whole = True

    def body() -> Iterator[bytes]:
        nonlocal whole
        yield from _form(boundary, f"large-{number}.txt")
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                if time.monotonic() > ends:
                    whole = False
                    break
                yield block
                time.sleep(1 / BLOCKS_A_SECOND)
        yield f"\r\n--{boundary}--\r\n".encode()

    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    client.post("/jobs", content=body(), headers=kind, timeout=300).raise_for_status()
    return whole


def _form(boundary: str, name: str) -> Iterator[bytes]:
    for field, value in (("EmbeddingsMetadata", LOCAL), ("VectorDBMetadata", STORE)):
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n'
        yield f"{head}{value}\r\n".encode()
    part = f'Content-Disposition: form-data; name="file"; filename="{name}"'
    yield f"--{boundary}\r\n{part}\r\n\r\n".encode()


def search_for(data: str, seconds: str) -> None:
    """Search now and then; the first search, which loads the model, does not count."""
    import vectorflow as vf  # noqa: PLC0415 - the other processes need nothing of it

    took: list[float] = []
    with vf.open(data_dir=data) as flow:
        flow.search(QUESTIONS[0])
        print(READY, flush=True)
        ends = time.monotonic() + float(seconds)
        while time.monotonic() < ends:
            question = QUESTIONS[len(took) % len(QUESTIONS)]
            took.append(_timed(lambda asked=question: flow.search(asked)))
            time.sleep(SEARCH_SECONDS)
    print(json.dumps(asdict(_latency(took))))


def _table(idle: Answers, loaded: Answers) -> list[Row]:
    rows: list[Row] = [("milliseconds", "samples", "p50", "p99", "most")]
    for when, answers in (("idle", idle), ("under load", loaded)):
        each = (("status", answers.status), ("livez", answers.alive), ("search", answers.search))
        rows += [
            (f"{name}, {when}", *(f"{value:,}" for value in asdict(one).values()))
            for name, one in each
        ]
    return rows


if __name__ == "__main__":
    {"upload": upload_for, "search": search_for}[sys.argv[1]](*sys.argv[2:])
