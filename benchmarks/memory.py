"""What a worker holds for very large files, and an API while files come in."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import corpus
from benchmarks.measuring import Goal, Options, Result, Row, environment
from benchmarks.served import LOCAL, serving, upload, wait
from benchmarks.watching import (
    children_of,
    peak_megabytes_of,
    progress,
    resident_megabytes,
    sampling,
)

HASH = "hash:384"
API = "openai:text-embedding-3-small"
OPENAI = '{"embeddings_type":"OPEN_AI","model":"text-embedding-3-small"}'
LATENCY_SECONDS = "0.5"
REPEATED_BYTES = 4_000_000
"""Of text from the corpus; every repetition has its number in each paragraph."""
UPLOADS = 20
UPLOAD_BYTES = 20_000_000
WARM_UPLOADS = 2
LONGEST_SECONDS = 900.0

FORMATS: Mapping[str, Callable[[int, str], str]] = {
    "txt": lambda number, paragraph: f"{number} {paragraph}\n\n",
    "csv": lambda number, paragraph: f'{number},"{paragraph.replace(chr(34), chr(34) * 2)}"\n',
    "jsonl": lambda number, paragraph: json.dumps({"number": number, "text": paragraph}) + "\n",
}
"""How a paragraph is written, by the file's suffix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the processes of `vectorflow up` had resident while one file was embedded."""

    megabytes: float
    """Of the file."""
    seconds: float
    worker_ready: float
    """With model and libraries loaded: one small document was embedded and stored before."""
    worker_peak: float
    api_peak: float

    @property
    def above(self) -> float:
        """What the large file took more than a small one."""
        return round(self.worker_peak - self.worker_ready, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """What an API alone had resident, in megabytes."""

    uploads: int
    before: float
    after: float
    peak: float

    @property
    def growth(self) -> float:
        """What stayed."""
        return round(self.after - self.before, 1)


def measure(options: Options) -> Result:
    """Embed large files with a free embedder and with a slow provider; then only upload."""
    large, other = (50_000_000, 10_000_000) if options.quick else (1_000_000_000, 250_000_000)
    size = UPLOAD_BYTES // 10 if options.quick else UPLOAD_BYTES
    sizes = {suffix: large if suffix == "txt" else other for suffix in FORMATS}
    free = {
        suffix: _free(suffix, sizes[suffix], options.data / f"hash-{suffix}") for suffix in FORMATS
    }
    paid = _paid(other, options.data / "api")
    flat = _uploads(size, options.data / "uploads")
    rows = [(f"{suffix}, {HASH}", one) for suffix, one in free.items()]
    return Result(
        table=_table([*rows, (f"txt, {API}, {LATENCY_SECONDS} s", paid)], flat),
        figures={
            **{
                f"hash_{suffix}": asdict(one) | {"above": one.above} for suffix, one in free.items()
            },
            "api": asdict(paid) | {"above": paid.above},
            "uploads": asdict(flat) | {"growth": flat.growth},
        },
        goals=[
            *(
                Goal(what=f"worker above the model, {suffix}, MB", value=one.above, at_most=400)
                for suffix, one in free.items()
            ),
            Goal(what="worker, slow provider, MB", value=paid.above, at_most=400),
            Goal(what="API under uploads, MB", value=flat.growth, at_most=20),
        ],
        summary="memory: above the model "
        + ", ".join(
            f"{one.above:.0f} MB for {one.megabytes:,.0f} MB of {suffix}"
            for suffix, one in free.items()
        )
        + f", {paid.above:.0f} MB with a slow provider; {flat.uploads} uploads leave"
        f" {flat.growth:+.0f} MB in the API",
        notes=[
            "above the model: the peak without what one small document had left resident",
            f"libraries, taken off: {free['txt'].worker_ready:.0f} MB; no model is loaded",
            f"files: {REPEATED_BYTES / 1e6:.0f} MB of the corpus again and again, numbered",
        ],
    )


def _free(suffix: str, size: int, data: Path) -> Held:
    return _embed(_numbered(suffix, size, data), LOCAL, VECTORFLOW_EMBEDDER=HASH)


def _paid(size: int, data: Path) -> Held:
    with _provider() as url:
        return _embed(
            _numbered("txt", size, data),
            OPENAI,
            VECTORFLOW_EMBEDDER=API,
            VECTORFLOW_OPENAI__BASE_URL=url,
            VECTORFLOW_OPENAI__KEY="free",
        )


def _embed(file: Path, embeddings: str, **variables: str) -> Held:
    """Send a small document, then the large one, and watch."""
    data, size = file.parent, file.stat().st_size
    small = corpus.files(2_000, data / "small").paths[0]
    limits = {"VECTORFLOW_API__MAX_BATCH_BYTES": str(2 * size)}
    with serving("up", data / "data", **variables, **limits) as server, server.client() as client:
        wait(client, upload(client, small, embeddings=embeddings), LONGEST_SECONDS)
        (worker,) = children_of(server.pid)
        ready = resident_megabytes(worker)
        progress(f"{variables['VECTORFLOW_EMBEDDER']}: {size / 1e6:,.0f} MB, {file.name}")
        began = time.monotonic()
        with sampling(worker) as seen:
            wait(client, upload(client, file, embeddings=embeddings), LONGEST_SECONDS)
        return Held(
            megabytes=round(size / 1e6, 1),
            seconds=round(time.monotonic() - began, 1),
            worker_ready=round(ready, 1),
            worker_peak=round(max(seen.most, peak_megabytes_of(worker)), 1),
            api_peak=round(peak_megabytes_of(server.pid), 1),
        )


def _uploads(size: int, data: Path) -> Flat:
    """Send files to an API without a worker; the first ones let it load what it needs."""
    file = _numbered("txt", size, data)
    with serving("api", data / "data") as server, server.client() as client:
        for number in range(WARM_UPLOADS):
            upload(client, file, name=f"warm-{number}.txt")
        before = resident_megabytes(server.pid)
        progress(f"{UPLOADS} uploads of {size / 1e6:,.0f} MB")
        for number in range(UPLOADS):
            upload(client, file, name=f"{number}.txt")
        return Flat(
            uploads=UPLOADS,
            before=round(before, 1),
            after=round(resident_megabytes(server.pid), 1),
            peak=round(peak_megabytes_of(server.pid), 1),
        )


def _numbered(suffix: str, size: int, data: Path) -> Path:
    """Write a file of about this size, in which no two chunks are equal."""
    texts = corpus.files(min(size, REPEATED_BYTES), data / "corpus")
    once = [part for path in texts.paths for part in path.read_text(encoding="utf-8").split("\n\n")]
    write, path, number = FORMATS[suffix], data / f"large.{suffix}", 0
    with path.open("w", encoding="utf-8") as file:
        file.write("number,text\n" if suffix == "csv" else "")
        while file.tell() < size:
            file.writelines(write(number, paragraph) for paragraph in once)
            number += 1
    return path


@contextmanager
def _provider() -> Iterator[str]:
    """Start a provider that answers after a while, and give its URL."""
    command = [sys.executable, "-m", "vectorflow.testing.provider", "--latency", LATENCY_SECONDS]
    process = subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, text=True, env=environment()
    )
    try:
        yield next(iter(process.stdout or ())).strip()
    finally:
        process.terminate()
        process.wait()


def _table(held: list[tuple[str, Held]], flat: Flat) -> list[Row]:
    rows: list[Row] = [("embedder", "MB", "s", "worker ready", "peak", "above", "API peak")]
    rows += [
        (
            name,
            f"{one.megabytes:,.0f}",
            f"{one.seconds:,.0f}",
            f"{one.worker_ready:,.0f}",
            f"{one.worker_peak:,.0f}",
            f"{one.above:,.0f}",
            f"{one.api_peak:,.0f}",
        )
        for name, one in held
    ]
    uploads = f"API alone, {flat.uploads} uploads: {flat.before:,.0f} MB before, {flat.after:,.0f}"
    return [*rows, (f"{uploads} after", "", "", "", "", f"{flat.growth:,.0f}", f"{flat.peak:,.0f}")]
