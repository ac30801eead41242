"""Text that was embedded on this machine is not embedded again: not by another process either."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import numpy as np
import pytest

import vectorflow as vf
from vectorflow.adapters.vector_caches.files import FileVectorCache
from vectorflow.domain.pipelines import Fingerprint
from vectorflow.flow import AsyncFlow, EmbedOptions
from vectorflow.ports.vector_cache import CacheScope
from vectorflow.testing.provider import FakeProvider, vector_of

MODEL = "openai:text-embedding-3-small@64"
TEXTS = {
    "lamp.md": "# The lamp\n\nTrim the wick every evening. Polish the lens before dusk.\n",
    "bell.md": "# The bell\n\nRing the bell twice a minute while the fog lasts.\n",
}


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in TEXTS.items():
        (docs / name).write_text(text, "utf-8")
    return docs


def opened(
    tmp_path: Path, provider: FakeProvider, **more: object
) -> AbstractAsyncContextManager[AsyncFlow]:
    given: dict[str, object] = {
        "data_dir": tmp_path / "data",
        "embedder": MODEL,
        "openai.base_url": provider.url,
        "blobs.free_floor_bytes": 0,
    }
    return vf.aopen(**given | more)


async def test_another_index_costs_nothing(
    tmp_path: Path, folder: Path, provider: FakeProvider
) -> None:
    async with opened(tmp_path, provider) as flow:
        first = await flow.embed(folder, index="one")
    paid = provider.stats.texts
    async with opened(tmp_path, provider) as flow:
        second = await flow.embed(folder, index="two")
        batches = [batch async for batch in flow.export(index="two")]

    assert first.chunks_embedded == paid == first.records_new > 0
    assert (second.records_new, second.chunks_embedded) == (first.records_new, 0)
    assert (second.embedding_calls, second.tokens) == (0, 0)
    assert provider.stats.texts == paid
    for row in (row for batch in batches for row in batch.to_pylist()):
        expected = vector_of(row["text"], 64, "text-embedding-3-small")
        np.testing.assert_array_equal(np.float32(row["vector"]), expected)


async def test_a_file_that_was_deleted_and_comes_back_costs_nothing(
    tmp_path: Path, folder: Path, provider: FakeProvider
) -> None:
    async with opened(tmp_path, provider) as flow:
        await flow.embed(folder)
        paid = provider.stats.texts
        (folder / "bell.md").unlink()
        gone = await flow.embed(folder, options=EmbedOptions(allow_delete=True))
        (folder / "again.md").write_text(TEXTS["bell.md"] + "\n## New\n\nA new line.\n", "utf-8")
        back = await flow.embed(folder)

    assert gone.gone == 1
    assert back.new == 1
    assert back.chunks_embedded == provider.stats.texts - paid == 1
    assert back.records_new == 2


async def test_the_same_text_in_many_documents_at_once_is_embedded_once(
    tmp_path: Path, provider: FakeProvider
) -> None:
    async with opened(tmp_path, provider) as flow:
        reports = await asyncio.gather(
            *(
                flow.embed({"id": f"{number}.md", "text": TEXTS["lamp.md"]}, index=f"at-{number}")
                for number in range(6)
            )
        )

    assert provider.stats.texts == sum(report.chunks_embedded for report in reports) == 1
    assert [report.records_new for report in reports] == [1] * 6


async def test_without_a_cache_the_same_text_is_embedded_again(
    tmp_path: Path, folder: Path, provider: FakeProvider
) -> None:
    for index in ("one", "two"):
        async with opened(tmp_path, provider, **{"cache.max_bytes": 0}) as flow:
            await flow.embed(folder, index=index)

    assert provider.stats.repeated_texts == provider.stats.texts / 2
    assert not (tmp_path / "data" / "cache").exists()


WRITER = """
import asyncio, sys
from pathlib import Path
from tests.integration.test_vector_cache import SCOPE, keys_of, made, FileVectorCache

async def write(folder, begin):
    cache = FileVectorCache(Path(folder), max_bytes=8 << 20, max_age=1e6)
    for start in range(begin, begin + 100_000, 50):
        numbers = range(start, start + 50)
        await cache.keep(SCOPE, keys_of(numbers), made(numbers))
        print("kept", flush=True)

asyncio.run(write(sys.argv[1], int(sys.argv[2])))
"""

SCOPE = CacheScope(
    ledger="ledger",
    tenant="default",
    fingerprint=Fingerprint(
        model="m", revision="1", dimensions=128, pooling="mean", normalized=True
    ),
)


def keys_of(numbers: range) -> list[bytes]:
    return [number.to_bytes(8, "big") * 2 for number in numbers]


def made(numbers: range) -> np.ndarray:
    return (np.arange(128) + np.array(numbers)[:, None]).astype(np.float32)


class Writer:
    """A process that keeps vectors, fifty at a time, and says so."""

    def __init__(self, folder: Path, begin: int) -> None:
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(begin)],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def await_keeps(self, count: int) -> None:
        assert self._process.stdout is not None
        said = [self._process.stdout.readline() for _ in range(count)]
        assert said == ["kept\n"] * count

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()
        assert self._process.returncode == -signal.SIGKILL


@pytest.mark.slow
async def test_processes_that_write_at_once_and_are_killed_leave_right_vectors_only(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "cache"
    cache = FileVectorCache(folder, max_bytes=8 << 20, max_age=1e6)
    found = 0
    for turn in range(2):
        begins = [turn * 1_000_000, turn * 1_000_000 + 500_000]
        writers = [Writer(folder, begin) for begin in begins]
        for writer in writers:
            writer.await_keeps(5)
        for writer in writers:
            writer.kill()
        for begin in begins:
            found += await checked(cache, range(begin, begin + 20_000))
        own = range(turn * 1_000_000 + 900_000, turn * 1_000_000 + 900_100)
        await cache.keep(SCOPE, keys_of(own), made(own))
        assert await checked(cache, own) == 100
    await cache.sweep()  # of the files that the dead have left
    view = await cache.view()
    assert found > 100
    assert view.bytes <= 8 << 20
    assert len(list(folder.glob("*.rows"))) == view.segments
    await cache.close()


async def checked(cache: FileVectorCache, numbers: range) -> int:
    """Count those that are found; each of them has its own vector."""
    found = await cache.find(SCOPE, keys_of(numbers))
    expected = made(numbers)[found.positions]
    np.testing.assert_array_equal(found.vectors, expected)
    return len(found.positions)
