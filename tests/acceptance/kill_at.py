"""Run the command line and kill it on its way: `[OPTIONS] SEAM N -- ARGUMENTS…`.

The product has no hooks for this: methods are wrapped from outside. At the N-th passage of the
seam the process sends itself a signal, as a crash or a hanging machine would.

Seams: `put:KIND` (a blob was written), `transaction:NAME` (the statements of a ledger transaction
ran, its commit did not), `commit:NAME` (it did), `embedded`, `created`, `upsert` (before it),
`upserting` (half of the records were written), `upserted`, `deleting`, `deleted`, `delivered` (a
webhook has answered); `none` for none.
"""

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path

import pyarrow as pa
from sqlalchemy import Connection

from vectorflow import settings
from vectorflow.adapters._lancedb_import import import_lancedb
from vectorflow.adapters.blob_stores.files import FileBlobStore
from vectorflow.adapters.embedders.hash import HashEmbedder
from vectorflow.adapters.hooks.http import HttpHooks
from vectorflow.adapters.vector_stores.lancedb import LanceDbVectorStore
from vectorflow.cli.main import main
from vectorflow.domain.records import Matrix
from vectorflow.ledger.database import Database
from vectorflow.ports.embedder import Purpose
from vectorflow.ports.hooks import Delivery
from vectorflow.ports.vector_store import Marker

IMPORTED = ("vectorflow.flow", "vectorflow.cli.embed", "vectorflow.cli.worker")
"""What the commands import when they run. LanceDB is not to be forked: it has threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a process runs."""

    cwd: Path
    environ: Mapping[str, str]
    log: Path

    def enter(self) -> None:
        """Forget where this process came from."""
        os.chdir(self.cwd)
        os.environ.clear()
        os.environ.update(self.environ)
        sys.path[:0] = filter(None, self.environ.get("PYTHONPATH", "").split(os.pathsep))
        with self.log.open("wb") as output:
            for descriptor in (1, 2):
                os.dup2(output.fileno(), descriptor)


@dataclass(slots=True)
class Seam:
    """The place to die at."""

    name: str
    passages: int
    """Left until then."""
    signal: signal.Signals
    folder: Path | None = None
    """Removed instead, as somebody else might."""

    def is_now(self, name: str) -> bool:
        """Count a passage; True for the one to die at."""
        if name != self.name:
            return False
        self.passages -= 1
        return self.passages == 0

    def strike(self) -> None:
        """Die, or stand still until somebody lets us go on."""
        if self.folder is None:
            os.kill(os.getpid(), self.signal)
        else:
            shutil.rmtree(self.folder)

    def passed(self, name: str) -> None:
        """Die here if it is time."""
        if self.is_now(name):
            self.strike()

    def passed_all(self, names: Iterable[str]) -> None:
        """Die at one of these if it is time."""
        for name in names:
            self.passed(name)


def names_of(transaction: Callable[[Connection], object]) -> list[str]:
    """What a transaction does; a finish by the kinds of its batches, a duty by its name."""
    if not isinstance(transaction, partial):
        return [getattr(transaction, "__name__", "")]
    name: str = transaction.func.__name__
    if name in {"claim_duty", "note_duty"}:
        return [f"{name}.{transaction.keywords['name']}"]
    results = transaction.keywords.get("results")
    if results is None:
        return [name]
    return sorted({f"{name}.{result.lease.kind}" for result in results})


def watch_ledger(seam: Seam) -> None:
    original = Database.write_now

    def write_now(self: Database, transaction: Callable[[Connection], object]) -> object:
        names = names_of(transaction)

        def watched(connection: Connection) -> object:
            result = transaction(connection)
            if result or names != ["claim"]:
                seam.passed_all(f"transaction:{name}" for name in names)
            return result

        result = original(self, watched)
        if result or names != ["claim"]:
            seam.passed_all(f"commit:{name}" for name in names)
        return result

    Database.write_now = write_now


def watch_blobs(seam: Seam) -> None:
    original = FileBlobStore.put

    async def put(self: FileBlobStore, key: str, parts: Sequence[bytes]) -> int:
        size = await original(self, key, parts)
        seam.passed(f"put:{key.partition('/')[0]}")
        return size

    FileBlobStore.put = put


def watch_embedder(seam: Seam) -> None:
    original = HashEmbedder.embed

    async def embed(self: HashEmbedder, texts: Sequence[str], purpose: Purpose) -> Matrix:
        vectors = await original(self, texts, purpose)
        seam.passed("embedded")
        return vectors

    HashEmbedder.embed = embed


def watch_store(seam: Seam) -> None:
    create, upsert, delete = (
        LanceDbVectorStore.create, LanceDbVectorStore.upsert, LanceDbVectorStore.delete,
    )  # fmt: skip

    async def created(self: LanceDbVectorStore, index: str, marker: Marker) -> Marker:
        made = await create(self, index, marker)
        seam.passed("created")
        return made

    async def upserted(self: LanceDbVectorStore, index: str, records: pa.Table) -> None:
        seam.passed("upsert")
        half = upsert(self, index, records.slice(0, len(records) // 2))
        await strike_after(half, seam, "upserting")
        await upsert(self, index, records)
        seam.passed("upserted")

    async def deleted(self: LanceDbVectorStore, index: str, ids: Sequence[str]) -> None:
        await strike_after(delete(self, index, ids[: len(ids) // 2]), seam, "deleting")
        await delete(self, index, ids)
        seam.passed("deleted")

    LanceDbVectorStore.create = created
    LanceDbVectorStore.upsert = upserted
    LanceDbVectorStore.delete = deleted


def watch_hooks(seam: Seam) -> None:
    original = HttpHooks.deliver

    async def deliver(self: HttpHooks, url: str, key: str, delivery: Delivery) -> None:
        await original(self, url, key, delivery)
        seam.passed("delivered")

    HttpHooks.deliver = deliver


async def strike_after(half: Awaitable[None], seam: Seam, name: str) -> None:
    """Do half of the work and die, or leave it alone if it is not time."""
    if seam.is_now(name):
        await half
        seam.strike()
    else:
        half.close()


def shorten_leases(seconds: float) -> None:
    """Below what the settings allow, so that tests need not wait half a minute."""
    original = settings.load

    def load(*args: object, **options: object) -> settings.Settings:
        made = original(*args, **options)
        worker = replace(made.worker, lease_seconds=seconds, store_timeout=seconds * 2 / 3)
        return replace(made, worker=worker)

    settings.load = load


def import_all() -> None:
    """So that what comes after `ready` is work, not imports."""
    for name in IMPORTED:
        import_module(name)
    import_lancedb()


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--signal", type=lambda name: signal.Signals[name], default=signal.SIGKILL)
    parser.add_argument("--remove", type=Path, help="folder to remove instead of dying")
    parser.add_argument("--lease", type=float)
    parser.add_argument("--paid", action="store_true", help="embedding costs money")
    parser.add_argument("--ready", type=Path, help="file to make when all is imported")
    parser.add_argument("seam")
    parser.add_argument("passages", type=int)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser.parse_args(arguments)


def run(arguments: Sequence[str], place: Place) -> None:
    """Become a command line of its own, in a process that was just forked."""
    place.enter()
    options = parsed(arguments)
    seam = Seam(options.seam, options.passages, options.signal, options.remove)
    for watch in (watch_ledger, watch_blobs, watch_embedder, watch_store, watch_hooks):
        watch(seam)
    if options.lease:
        shorten_leases(options.lease)
    if options.paid:
        HashEmbedder.limits = replace(HashEmbedder.limits, paid=True)
    sys.argv = ["vectorflow", *options.arguments[options.arguments[:1] == ["--"] :]]
    import_all()
    if options.ready:
        options.ready.touch()
    main()
