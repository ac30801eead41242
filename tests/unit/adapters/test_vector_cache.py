"""The cache gives what was kept, for that tenant and model only, or nothing."""

import asyncio
import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scraped import risen
from vectorflow.adapters import _cache_catalog
from vectorflow.adapters.metrics.prometheus import PrometheusMetrics, written
from vectorflow.adapters.vector_caches.files import FileVectorCache
from vectorflow.domain.pipelines import Fingerprint
from vectorflow.domain.records import Matrix
from vectorflow.ports.vector_cache import CacheScope

MODEL = Fingerprint(model="m", revision="1", dimensions=6, pooling="mean", normalized=True)
ONE = CacheScope(ledger="ledger", tenant="one", fingerprint=MODEL)
SCOPES = (
    ONE,
    replace(ONE, tenant="two"),
    replace(ONE, ledger="another"),
    replace(ONE, fingerprint=replace(MODEL, revision="2")),
    replace(ONE, fingerprint=replace(MODEL, dimensions=3)),
)
ROW = 24 + 6 * 4 + _cache_catalog.ENTRY_BYTES
YEAR = 365 * 86_400.0


def key_of(number: int) -> bytes:
    """Numbers below 4 share half of their hash."""
    head = 0 if number < 4 else number
    halves = hashlib.blake2b(b"%d" % head, digest_size=8), hashlib.blake2b(b"%d" % number)
    return halves[0].digest() + halves[1].digest()[:8]


def keys_of(numbers: Sequence[int]) -> list[bytes]:
    return [key_of(number) for number in numbers]


def vectors_of(scope: CacheScope, numbers: Sequence[int]) -> Matrix:
    """What the model of a scope makes of each; no two scopes get the same."""
    shape = (len(numbers), scope.fingerprint.dimensions)
    places = np.arange(shape[1]) + 100 * SCOPES.index(scope)
    rows: Matrix = (np.array(numbers)[:, None] + places / 1000).astype(np.float32).reshape(shape)
    return rows


def cache_at(folder: Path, *, max_bytes: int = 1 << 20, max_age: float = YEAR) -> FileVectorCache:
    return FileVectorCache(folder, max_bytes=max_bytes, max_age=max_age)


async def kept(cache: FileVectorCache, scope: CacheScope, numbers: Sequence[int]) -> None:
    await cache.keep(scope, keys_of(numbers), vectors_of(scope, numbers))


async def held(cache: FileVectorCache, scope: CacheScope, numbers: Sequence[int]) -> list[int]:
    """The numbers that are found; each with its vector, or the test fails."""
    found = await cache.find(scope, keys_of(numbers))
    there = [numbers[at] for at in found.positions.tolist()]
    assert found.vectors.dtype == np.float32
    np.testing.assert_array_equal(found.vectors, vectors_of(scope, there))
    assert sorted(set(found.positions.tolist())) == found.positions.tolist()
    return there


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.rows"))


async def test_what_is_kept_is_found_in_the_order_asked_for(tmp_path: Path) -> None:
    cache = cache_at(tmp_path / "cache")
    numbers = [9, 400, 31, 77]

    await kept(cache, ONE, numbers)

    assert await held(cache, ONE, [77, 5, 9, 400, 8, 31]) == [77, 9, 400, 31]
    assert await held(cache, ONE, []) == []
    await cache.close()


async def test_another_process_finds_it(tmp_path: Path) -> None:
    one, other = cache_at(tmp_path / "cache"), cache_at(tmp_path / "cache")

    await kept(one, ONE, range(100, 200))
    await kept(other, ONE, range(200, 300))

    assert await held(other, ONE, range(100, 300)) == list(range(100, 300))
    assert await held(one, ONE, range(100, 300)) == list(range(100, 300))
    await one.close()
    await other.close()
    again = cache_at(tmp_path / "cache")
    assert await held(again, ONE, range(100, 300)) == list(range(100, 300))
    assert len(_segments(tmp_path / "cache")) == 1
    await again.close()


keeps = st.tuples(
    st.just("keep"),
    st.sampled_from(SCOPES),
    st.lists(st.integers(0, 60), min_size=1, max_size=30, unique=True),
)
looks = st.tuples(st.just("look"), st.sampled_from(SCOPES), st.lists(st.integers(0, 60)))
reopens = st.tuples(st.just("reopen"), st.just(ONE), st.just([]))
clears = st.tuples(st.just("clear"), st.just(ONE), st.just([]))


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.one_of(keeps, looks, keeps, reopens, clears), max_size=25),
    rows=st.integers(4, 90),
)
def test_a_cache_gives_what_was_kept_in_that_scope_or_nothing(
    steps: list[tuple[str, CacheScope, list[int]]], rows: int
) -> None:
    async def law(folder: Path) -> None:
        cache = cache_at(folder, max_bytes=rows * ROW)
        ever: dict[CacheScope, set[int]] = {scope: set() for scope in SCOPES}
        for step, scope, numbers in steps:
            if step == "keep":
                await kept(cache, scope, numbers)
                ever[scope].update(numbers)
                assert (await cache.view()).bytes <= rows * ROW
            elif step == "look":
                assert set(await held(cache, scope, numbers)) <= ever[scope]
            elif step == "clear":
                await cache.clear()
                ever = {each: set() for each in SCOPES}
            else:
                await cache.close()
                cache = cache_at(folder, max_bytes=rows * ROW)
        for scope, numbers_kept in ever.items():
            assert set(await held(cache, scope, list(range(61)))) <= numbers_kept
        await cache.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(law(Path(folder) / "cache"))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_segment_that_was_cut_off_or_damaged_gives_right_rows_or_none(
    data: st.DataObject,
) -> None:
    async def law(folder: Path) -> None:
        cache = cache_at(folder)
        await kept(cache, ONE, range(100, 140))
        (segment,) = _segments(folder)
        size = segment.stat().st_size
        how = data.draw(st.sampled_from(["cut", "blank", "flip", "shift"]))
        at = data.draw(st.integers(0, size - 1))
        raw = bytearray(segment.read_bytes())
        if how == "cut":
            raw = raw[:at]
        elif how == "blank":  # what a disk may show of bytes that were never synced
            raw[at:] = bytes(size - at)
        elif how == "flip":
            raw[at] ^= 1 << data.draw(st.integers(0, 7))
        else:
            raw[at:] = bytes(data.draw(st.integers(1, 100))) + raw[at:]
        segment.write_bytes(raw)
        damaged = 100 + at // (size // 40)
        there = await held(cache, ONE, range(100, 140))
        assert [number for number in there if number < damaged] == list(range(100, damaged))
        if how == "flip":
            assert damaged not in there
        await kept(cache, ONE, range(100, 140))
        assert await held(cache, ONE, range(100, 140)) == list(range(100, 140))
        await cache.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(law(Path(folder) / "cache"))


async def test_what_was_not_used_for_longest_makes_room(tmp_path: Path) -> None:
    cache = cache_at(tmp_path / "cache", max_bytes=64 * ROW)
    for start in range(100, 160, 2):
        await kept(cache, ONE, [start, start + 1])
        assert await held(cache, ONE, [100]) == [100]

    for start in range(200, 240, 2):
        await kept(cache, ONE, [start, start + 1])
        await held(cache, ONE, [100])

    assert await held(cache, ONE, [100, 238, 239]) == [100, 238, 239]
    assert await held(cache, ONE, range(102, 120)) == []
    view = await cache.view()
    assert view.bytes <= 64 * ROW
    files = _segments(tmp_path / "cache")
    assert len(files) == view.segments
    await cache.close()


async def test_a_vector_is_not_kept_for_longer_than_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_at(tmp_path / "cache", max_age=1000.0)
    await kept(cache, ONE, [100])
    now = _cache_catalog.time.time()

    monkeypatch.setattr(_cache_catalog.time, "time", lambda: now + 900)
    await kept(cache, ONE, [200])
    assert await held(cache, ONE, [100, 200]) == [100, 200]
    monkeypatch.setattr(_cache_catalog.time, "time", lambda: now + 1001)

    assert await held(cache, ONE, [100, 200]) == [200]
    await cache.sweep()
    assert (await cache.view()).vectors == 1
    assert len(_segments(tmp_path / "cache")) == 1
    await cache.close()


async def test_a_row_of_another_tenant_is_not_given_whatever_the_catalog_says(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "cache"
    cache = cache_at(folder)
    await kept(cache, ONE, [100])
    await kept(cache, SCOPES[1], [100])
    one, other = _segments(folder)
    spare = folder / "spare"
    one.rename(spare)
    other.rename(one)
    spare.rename(other)

    assert await held(cache, ONE, [100]) == []
    assert await held(cache, SCOPES[1], [100]) == []
    await cache.close()


async def test_a_broken_catalog_is_begun_anew(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "catalog.db").write_bytes(b"no database at all" * 100)
    (folder / "left.rows").write_bytes(b"of a process that died")
    cache = cache_at(folder)

    assert await held(cache, ONE, [100]) == []
    await kept(cache, ONE, [100])

    assert await held(cache, ONE, [100]) == [100]
    assert not (folder / "left.rows").exists()
    await cache.close()


async def test_what_a_process_left_is_swept(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = cache_at(folder)
    await kept(cache, ONE, [100])
    (folder / "left.rows").write_bytes(b"of a process that died")
    await cache.close()

    again = cache_at(folder)
    await again.sweep()

    assert await held(again, ONE, [100]) == [100]
    assert not (folder / "left.rows").exists()
    await again.close()


async def test_a_bound_that_was_lowered_holds_after_a_sweep(tmp_path: Path) -> None:
    cache = cache_at(tmp_path / "cache", max_bytes=320 * ROW)
    for start in range(100, 400, 10):
        await kept(cache, ONE, range(start, start + 10))
    await cache.close()
    for rows in (100, 0):
        smaller = cache_at(tmp_path / "cache", max_bytes=rows * ROW)

        await smaller.sweep()

        assert (await smaller.view()).bytes <= rows * ROW
        await smaller.close()
    assert _segments(tmp_path / "cache") == []


async def test_what_goes_wrong_is_a_miss(tmp_path: Path) -> None:
    cache = cache_at(tmp_path / "cache")
    await kept(cache, ONE, [100])
    writer = sqlite3.connect(tmp_path / "cache" / "catalog.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")

    await kept(cache, ONE, [200])

    assert await held(cache, ONE, [100, 200]) == [100]
    writer.execute("ROLLBACK")
    writer.close()
    await kept(cache, ONE, [200])
    assert await held(cache, ONE, [100, 200]) == [100, 200]
    await cache.close()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("a file where the folder should be")
    no_folder = cache_at(tmp_path / "cache")
    await kept(no_folder, ONE, [100])
    assert await held(no_folder, ONE, [100]) == []
    await no_folder.close()


async def test_what_was_found_is_given_though_it_cannot_be_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cache_catalog, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(_cache_catalog, "TELL_SECONDS", 0.0)
    cache = cache_at(tmp_path)
    await kept(cache, ONE, [100])
    writer = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")

    assert await held(cache, ONE, [100, 200]) == [100]
    assert (await cache.view()).vectors == 1

    writer.execute("ROLLBACK")
    writer.close()
    assert await held(cache, ONE, [100, 200]) == [100]
    view = await cache.view()
    assert (view.hits, view.misses) == (2, 2)
    await cache.close()


async def test_nothing_is_kept_where_the_disk_is_nearly_full(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).total + 1
    cache = FileVectorCache(tmp_path / "c", max_bytes=1 << 20, max_age=YEAR, free_floor=free)

    await kept(cache, ONE, [100])

    assert await held(cache, ONE, [100]) == []
    await cache.close()


async def test_what_one_tenant_has_can_be_deleted_alone(tmp_path: Path) -> None:
    cache = cache_at(tmp_path / "cache")
    for scope in SCOPES:
        await kept(cache, scope, [4, 8, 9])
    files = len(_segments(tmp_path / "cache"))

    gone = [await cache.clear_tenant(tenant) for tenant in ("one", "one", "nobody")]

    assert gone == [12, 0, 0]  # of four scopes, in two ledgers and of three models
    assert [await held(cache, scope, [4, 8, 9]) for scope in SCOPES] == [
        [4, 8, 9] if scope.tenant == "two" else [] for scope in SCOPES
    ]
    assert (files, len(_segments(tmp_path / "cache"))) == (5, 1)
    await kept(cache, ONE, [1])
    assert await held(cache, ONE, [1, 4]) == [1]
    await cache.close()


async def test_there_is_nothing_of_a_tenant_in_a_cache_that_was_never_made(tmp_path: Path) -> None:
    cache = cache_at(tmp_path / "cache")

    assert await cache.clear_tenant("one") == 0

    assert not (tmp_path / "cache").exists()
    await cache.close()


async def test_it_counts_what_it_was_asked_for(tmp_path: Path) -> None:
    cache = cache_at(tmp_path / "cache")
    await kept(cache, ONE, [100, 200])
    await held(cache, ONE, [100, 200, 300])
    await cache.close()
    again = cache_at(tmp_path / "cache")
    await held(again, ONE, [100])

    view = await again.view()

    assert (view.vectors, view.segments, view.hits, view.misses) == (2, 1, 3, 1)
    await again.clear()
    view = await again.view()
    assert (view.vectors, view.bytes, view.segments, view.hits, view.misses) == (0, 0, 0, 0, 0)
    assert _segments(tmp_path / "cache") == []
    await again.close()


async def test_metrics_tell_what_was_found_and_what_was_not(tmp_path: Path) -> None:
    metrics = PrometheusMetrics()
    cache = FileVectorCache(tmp_path, max_bytes=1 << 20, max_age=YEAR, metrics=metrics)
    await kept(cache, ONE, [4, 5])

    for _ in range(2):
        await cache.find(ONE, keys_of([3, 4, 5]))
    await cache.close()

    assert risen(written([], metrics)) == {
        "vectorflow_vector_cache_hits_total": 4,
        "vectorflow_vector_cache_misses_total": 2,
    }
