"""Run the command line for the storm: `python -m tests.storm.launch [OPTIONS] -- ARGUMENTS…`.

The product has no hooks for this: methods are wrapped from outside.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from vectorflow import settings
from vectorflow.cli.main import main
from vectorflow.ports.work import Finished, Lease, NewPart, Work

SERVER = "VECTORFLOW_SERVER__URL"


class Witness:
    """Notes which writes of this worker the ledger accepted: verb, batch, epoch, when it asked."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, verb: str, began: float, leases: Iterable[Lease]) -> None:
        lines = [f"{verb} {lease.batch} {lease.epoch} {began:.4f}\n" for lease in leases]
        os.write(self._file, "".join(lines).encode())

    def watch(self, kind: type[Work]) -> None:
        finish, renew, checkpoint = kind.finish, kind.renew, kind.checkpoint

        async def finished(work: Work, results: Sequence[Finished]) -> Sequence[bool]:
            began = time.time()
            accepted = await finish(work, results)
            pairs = zip(results, accepted, strict=True)
            self.note("finish", began, [result.lease for result, taken in pairs if taken])
            return accepted

        async def renewed(work: Work, leases: Sequence[Lease]) -> Sequence[Lease]:
            began = time.time()
            kept = await renew(work, leases)
            self.note("renew", began, kept)
            return kept

        async def checked(
            work: Work,
            lease: Lease,
            *,
            parts: Sequence[NewPart] = (),
            vectors: str | None = None,
        ) -> None:
            began = time.time()
            await checkpoint(work, lease, parts=parts, vectors=vectors)
            self.note("checkpoint", began, [lease])

        kind.finish, kind.renew, kind.checkpoint = finished, renewed, checked


def kind_of_work() -> type[Work]:
    """What this worker reaches the ledger by; the other is not imported."""
    if SERVER in os.environ:
        from vectorflow.adapters.work.http import HttpWork  # noqa: PLC0415

        return HttpWork
    from vectorflow.ledger.work import LedgerWork  # noqa: PLC0415

    return LedgerWork


def shorten_leases(seconds: float) -> None:
    """Below what the settings allow, so that a short storm sees leases run out."""
    original = settings.load

    def load(*args: object, **options: object) -> settings.Settings:
        made = original(*args, **options)
        timeout = min(made.worker.store_timeout, seconds * 2 / 3)
        worker = replace(made.worker, lease_seconds=seconds, store_timeout=timeout)
        return replace(made, worker=worker)

    settings.load = load


def only_submit() -> None:
    """Let `embed` submit and watch, and leave the work to the workers."""
    from vectorflow.wiring import Parts  # noqa: PLC0415 - others start faster without

    async def wait(_parts: Parts, stop: asyncio.Event) -> None:
        await stop.wait()

    Parts.run_worker = wait


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lease", type=float)
    parser.add_argument("--only-submit", action="store_true")
    parser.add_argument("--witness", type=Path, help="file of the writes that were accepted")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser.parse_args()


def run() -> None:
    options = parsed()
    if options.lease:
        shorten_leases(options.lease)
    if options.only_submit:
        only_submit()
    if options.witness:
        Witness(options.witness).watch(kind_of_work())
    sys.argv = ["vectorflow", *options.arguments[options.arguments[:1] == ["--"] :]]
    main()


if __name__ == "__main__":
    run()
