"""What benchmarks run in processes of their own: each prints lines of JSON, the last the result.

python -m benchmarks.children NAME ARGUMENT ...
"""

import asyncio
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measuring import cpu_seconds, peak_megabytes

if TYPE_CHECKING:
    from vectorflow.ledger.database import Database
    from vectorflow.ports.work import Work

MISSES = 5
"""Claims in vain after which nothing is left."""


def bare(folder: str) -> None:
    """Embed a folder by the bare loop."""
    from benchmarks import bare_loop  # noqa: PLC0415 - what a child does not use costs it nothing

    result = bare_loop.run(list(bare_loop.read_texts(Path(folder))))
    _say(
        tokens=result.tokens,
        chunks=len(result.vectors),
        cpu_seconds=result.cpu_seconds,
        cutting_seconds=result.cutting_seconds,
        runtime=result.runtime,
        megabytes=peak_megabytes(),
    )


def product(folder: str, data: str) -> None:
    """Embed the probe texts, which loads all there is to load, then a folder; the index is new."""
    import vectorflow as vf  # noqa: PLC0415
    from vectorflow.adapters import _minilm  # noqa: PLC0415

    probe = [{"id": f"probe-{at}", "text": text} for at, text in enumerate(_minilm.PROBE_TEXTS)]
    with vf.open(data_dir=data) as flow:
        flow.embed(probe)
        started = cpu_seconds()
        report = flow.embed(folder)
    spent = cpu_seconds() - started
    _say(
        tokens=report.tokens,
        chunks=report.chunks_embedded,
        failed=report.failed,
        cpu_seconds=spent,
        seconds=report.seconds,
        startup_cpu_seconds=started,
        megabytes=peak_megabytes(),
        cosine=_probe_cosine(Path(data), _minilm.probe_vectors()),
    )


def _probe_cosine(data: Path, expected: "np.typing.NDArray[np.float32]") -> float:
    """Compare the vectors in the store with what the float32 model gives."""
    from benchmarks import stored  # noqa: PLC0415

    table = stored.records(data)
    found = dict(zip(table["document"].to_pylist(), table["vector"].to_pylist(), strict=True))
    vectors = np.array([found[f"probe-{at}"] for at in range(len(expected))])
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
    return float(np.mean(np.sum(vectors * expected, axis=1) / lengths))


def embed(folder: str, data: str, answered: str) -> None:
    """Embed a folder; every text the model answers is noted in the file `answered`."""
    import vectorflow as vf  # noqa: PLC0415

    _note_answers(Path(answered))
    with vf.open(data_dir=data) as flow:
        report = flow.embed(folder)
    _say(job=report.job_id, failed=report.failed, records=report.records)


def paid(folder: str, data: str) -> None:
    """Embed a folder with the embedder of the environment, and say what each stage took."""
    import vectorflow as vf  # noqa: PLC0415
    from benchmarks import stages  # noqa: PLC0415

    chunking = {"chunking.chunker": "tokens", "chunking.size": 512, "chunking.overlap": 64}
    shutil.rmtree(data, ignore_errors=True)
    with vf.open(data_dir=data, **chunking) as flow:
        flow.embed([{"id": "first", "text": "What is loaded late is loaded now."}])
        spent = stages.watch()
        started = cpu_seconds()
        report = flow.embed(folder)
        used = cpu_seconds() - started
    sizes = (path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    _say(
        chunks=report.chunks_embedded,
        calls=report.embedding_calls,
        failed=report.failed,
        bytes=sum(sizes),
        cpu_seconds=used,
        seconds=report.seconds,
        startup_cpu_seconds=started,
        megabytes=peak_megabytes(),
        **{f"stage {name}": seconds for name, seconds in spent.items()},
        **{"stage the rest": used - sum(spent.values())},
    )


def counted(folder: str, data: str) -> None:
    """Embed a folder with the embedder of the environment, and count what is made durable."""
    import vectorflow as vf  # noqa: PLC0415
    from vectorflow.adapters.vector_stores.lancedb import LanceDbVectorStore  # noqa: PLC0415
    from vectorflow.ledger.database import Database  # noqa: PLC0415

    counts: Counter[str] = Counter()
    with vf.open(data_dir=data) as flow:
        flow.embed([{"id": "first", "text": "What is loaded late is loaded now."}])
        _count(Database, "write_now", counts, "commits")
        _count(LanceDbVectorStore, "upsert", counts, "writes")
        _count(os, "fsync", counts, "syncs")
        report = flow.embed(folder)
    _say(
        documents_per_second=round(report.documents / report.seconds),
        failed=report.failed,
        seconds=report.seconds,
        **{name: counts[name] for name in ("commits", "writes", "syncs")},
    )


def _count(owner: object, name: str, counts: "Counter[str]", what: str) -> None:
    real: Callable[..., object] = getattr(owner, name)

    def counting(*args: object, **kwargs: object) -> object:
        counts[what] += 1
        return real(*args, **kwargs)

    setattr(owner, name, counting)


def work(data: str, answered: str) -> None:
    """Be a worker until killed."""
    from vectorflow import settings  # noqa: PLC0415
    from vectorflow.wiring import Parts  # noqa: PLC0415

    _note_answers(Path(answered))

    async def run() -> None:
        async with Parts(settings.load({"data_dir": data})) as parts:
            await parts.run_worker(asyncio.Event())

    asyncio.run(run())


def ledger(url: str, owner: str, kind: str, claimed: str, begins: str) -> None:
    """Claim and finish batches of a kind until none is left, and count what is made durable."""
    from sqlalchemy import event  # noqa: PLC0415

    from vectorflow.adapters.blob_stores.memory import MemoryBlobStore  # noqa: PLC0415
    from vectorflow.ledger.database import Database  # noqa: PLC0415
    from vectorflow.ledger.work import LedgerWork  # noqa: PLC0415

    database = Database(url)
    blobs = MemoryBlobStore()
    work = LedgerWork(database, blobs, owner=owner, lease_seconds=60.0, store_seconds=30.0)
    counts: Counter[str] = Counter()
    event.listen(database.engine, "commit", lambda _: counts.update(commits=1))
    time.sleep(max(0.0, float(begins) - time.time()))
    before, used, began = _log_syncs(database), cpu_seconds(), time.time()
    batches, ended = asyncio.run(_work_off(work, kind, int(claimed)))
    _say(
        batches=batches,
        began=began,
        ended=ended,
        cpu_seconds=cpu_seconds() - used,
        commits=counts["commits"],
        log_syncs=_log_syncs(database) - before,
    )


async def _work_off(work: "Work", kind: str, claimed: int) -> tuple[int, float]:
    """Give the number of batches, and when the last one was finished."""
    from vectorflow.domain.jobs import BatchKind  # noqa: PLC0415
    from vectorflow.testing.workplace import PretendWorker, claim  # noqa: PLC0415

    worker, batches, ended, misses = PretendWorker(work), 0, time.time(), 0
    while misses < MISSES:
        leases = await claim(work, BatchKind(kind), limit=claimed)
        if leases and not all(await work.finish([worker.result(lease) for lease in leases])):
            raise RuntimeError("a batch was not finished")
        misses = 0 if leases else misses + 1  # others may have been at it
        batches += len(leases)
        ended = time.time() if leases else ended
    return batches, ended


def _log_syncs(database: "Database") -> int:
    """Count how often a server has synced its log, MariaDB its tables too; 0 for SQLite."""
    if database.embedded:
        return 0
    if database.engine.dialect.name == "mariadb":
        query = (
            "SELECT variable_value FROM information_schema.global_status"
            " WHERE variable_name = 'innodb_data_fsyncs'"
        )
    else:
        flush = "SELECT pg_stat_force_next_flush()"
        query = "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'"
        database.read_now(lambda connection: connection.exec_driver_sql(flush))
    return database.read_now(lambda connection: int(connection.exec_driver_sql(query).scalar_one()))


def _note_answers(path: Path) -> None:
    """Make the local model write down what it has answered, so that it survives a kill."""
    from vectorflow.adapters.embedders.local import LocalEmbedder  # noqa: PLC0415
    from vectorflow.domain.records import Matrix  # noqa: PLC0415
    from vectorflow.ports.embedder import Purpose  # noqa: PLC0415

    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    answer = LocalEmbedder.embed

    async def noted(self: LocalEmbedder, texts: Sequence[str], purpose: Purpose) -> Matrix:
        vectors = await answer(self, texts, purpose)
        names = (blake2b(text.encode(), digest_size=16).hexdigest() for text in texts)
        os.write(log, "".join(f"{time.time():.3f} {name}\n" for name in names).encode())
        return vectors

    LocalEmbedder.embed = noted  # type: ignore[method-assign]


def _say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    children = {
        "bare": bare,
        "product": product,
        "embed": embed,
        "paid": paid,
        "counted": counted,
        "work": work,
        "ledger": ledger,
    }
    children[sys.argv[1]](*sys.argv[2:])
