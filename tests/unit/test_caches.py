"""Which folder the vectors of a machine are kept in, where others mount the same data directory."""

import asyncio
import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from vectorflow.domain.pipelines import Fingerprint
from vectorflow.ports.vector_cache import CacheScope
from vectorflow.settings import Settings, load
from vectorflow.wiring import caches
from vectorflow.wiring.caches import (
    ABANDONED_SECONDS,
    cache_folder,
    clear_abandoned,
    make_cache,
    tended,
)

SERVER = "postgresql://ledger.example/vectorflow"
MODEL = Fingerprint(model="m", revision="1", dimensions=2, pooling="mean", normalized=True)
SCOPE = CacheScope(ledger="ledger", tenant="one", fingerprint=MODEL)


@pytest.fixture
def shared(tmp_path: Path) -> Settings:
    return load({"data_dir": tmp_path, "database.url": SERVER}, environ={}, directory=tmp_path)


def on(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)


def catalogs_in(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.rglob("catalog.db"))


async def keep_one(settings: Settings) -> None:
    cache = make_cache(settings)
    await cache.keep(SCOPE, [b"0123456789abcdef"], np.ones((1, 2), dtype=np.float32))
    await cache.close()


async def test_machines_that_share_a_ledger_and_a_folder_share_no_file_of_the_cache(
    shared: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in ("north", "south"):
        on(host, monkeypatch)
        await keep_one(shared)

    folder = tmp_path / "cache"
    assert catalogs_in(tmp_path) == [folder / "north", folder / "south"]


@pytest.mark.parametrize("url", [None, "sqlite:////somewhere/ledger.db"])
def test_the_processes_of_one_machine_share_the_cache(
    url: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on("north", monkeypatch)
    settings = load({"data_dir": tmp_path, "database.url": url}, environ={}, directory=tmp_path)

    assert cache_folder(settings) == tmp_path / "cache"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("../etc", "etc"),
        ("a/b", "a-b"),
        ("..", "host"),
        ("", "host"),
        ("x" * 64,) * 2,
    ],
)
def test_any_name_of_a_host_is_one_folder(
    host: str, name: str, shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(host, monkeypatch)

    folder = cache_folder(shared)

    assert (folder.parent, folder.name) == (shared.data_dir / "cache", name)


async def test_the_cache_of_a_machine_that_is_gone_is_deleted_by_the_others(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in ("gone", "resting", "here"):
        on(host, monkeypatch)
        await keep_one(shared)
    folder = shared.data_dir / "cache"
    (folder / "catalog.db").touch()  # of a release whose machines shared one cache
    for name, age in {
        "gone": ABANDONED_SECONDS + 60,
        "resting": ABANDONED_SECONDS - 60,
        "here": 2 * ABANDONED_SECONDS,
        "catalog.db": 2 * ABANDONED_SECONDS,
    }.items():
        os.utime(folder / name, (time.time() - age,) * 2)

    clear_abandoned(shared)

    assert sorted(path.name for path in folder.iterdir()) == ["here", "resting"]
    assert time.time() - (folder / "here").stat().st_mtime < 60


async def test_a_machine_at_work_shows_it_and_looks_for_others(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()
    monkeypatch.setattr(caches, "clear_abandoned", lambda _: looked.set())

    async with tended(make_cache(shared), shared):
        assert await asyncio.to_thread(looked.wait, 10)
