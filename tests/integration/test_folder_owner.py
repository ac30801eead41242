"""A data directory belongs to one ledger: no other takes its blobs for garbage, or for lost."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest

import vectorflow as vf
from tests.unit.api.door import KEY, a_file, client_of, form, sentence
from vectorflow import settings
from vectorflow.adapters._folder_owner import FILE, OwnedFolder
from vectorflow.api.routes import health
from vectorflow.cli.checks import examine
from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.domain.retries import MAX_ATTEMPTS
from vectorflow.errors import InvalidSetting, NotFound, Unavailable
from vectorflow.flow import EmbedOptions
from vectorflow.ledger import claims, reads
from vectorflow.ledger.reads import JobView
from vectorflow.service.recover import LeaseTimes, standard_duties
from vectorflow.settings import Settings
from vectorflow.wiring import Parts
from vectorflow.wiring.api import api_backend
from vectorflow.wiring.recipes import capabilities
from vectorflow.wiring.retention import how_long_kept

NOTE = {"id": "note", "text": "The key of the shed hangs behind the clock."}

TWO_DAYS = 2 * 86_400.0


def given(folder: Path, url: str | None = None) -> Settings:
    chosen = {
        "data_dir": folder,
        "database.url": url,
        "embedder": "hash:8",
        "store": f"memory://{folder}",
        "api.key": KEY,
        "blobs.free_floor_bytes": 0,
    }
    return settings.load(chosen, environ={}, directory=folder.parent)


async def embedded(folder: Path, *, deleted: bool = False) -> None:
    """Let the SQLite ledger of a data directory embed a document, two days ago."""
    texts = folder.parent / "texts"
    texts.mkdir()
    (texts / "note.txt").write_text(NOTE["text"], "utf-8")
    async with vf.aopen(given(folder)) as flow:
        await flow.embed(texts)
        if deleted:
            (texts / "note.txt").unlink()
            await flow.embed(texts, options=EmbedOptions(allow_delete=True))
    for path in blobs_in(folder):
        os.utime(path, (time.time() - TWO_DAYS,) * 2)


def blobs_in(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "blobs").glob("*/*/*") if path.is_file())


def named_in(folder: Path) -> str:
    return (folder / "blobs" / FILE).read_text("utf-8").strip()


async def collect(parts: Parts) -> str:
    """See to the duty that deletes blobs which nothing refers to."""
    duties = standard_duties(
        parts.database,
        parts.blobs,
        parts.optimize,
        is_dead=None,
        leases=LeaseTimes(seconds=30.0, zombie_seconds=60.0),
        kept=how_long_kept(parts.settings),
    )
    [garbage] = [duty for duty in duties if duty.name == "garbage"]
    return await garbage.run()


@asynccontextmanager
async def api(parts: Parts) -> AsyncGenerator[httpx.AsyncClient]:
    backend = api_backend(parts, environ={})
    backend = replace(backend, limits=replace(backend.limits, answer_seconds=0.0))
    async with client_of(backend, vectorflowkey=KEY) as client:
        yield client


async def upload(parts: Parts, data: bytes = b"Ring the bell.") -> httpx.Response:
    async with api(parts) as client:
        return await client.post("/embed", data=form(), files=a_file(data))


async def claim(parts: Parts) -> int:
    """Count the batches that a worker takes."""
    able = capabilities(parts.settings.chunking.chunker)
    return len(await parts.work("worker").claim([BatchKind.EXTRACT], able, 8))


@pytest.fixture(params=["named", "unnamed"])
async def of_another(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data directory that another ledger used; the second as older releases left it."""
    folder = tmp_path / "data"
    await embedded(folder)
    if request.param == "unnamed":
        (folder / "blobs" / FILE).unlink()
    return folder


async def test_the_folder_of_another_ledger_is_refused_and_nothing_in_it_is_deleted(
    of_another: Path, ledger_url: str
) -> None:
    before = blobs_in(of_another)

    async with Parts(given(of_another, ledger_url)) as parts:
        with pytest.raises(InvalidSetting) as refused:
            await parts.check()
        with pytest.raises(InvalidSetting):
            await parts.run_worker(asyncio.Event())
        with pytest.raises(Unavailable):
            await collect(parts)

    assert str(of_another / "blobs") in refused.value.fix
    assert before
    assert blobs_in(of_another) == before
    async with Parts(given(of_another)) as parts:
        await parts.check()


async def test_the_sqlite_ledger_does_not_take_the_folder_of_a_server_either(
    tmp_path: Path, ledger_url: str
) -> None:
    async with Parts(given(tmp_path / "data", ledger_url)) as parts:
        assert (await upload(parts)).status_code == 200
    (tmp_path / "data" / "blobs" / FILE).unlink()

    async with vf.aopen(given(tmp_path / "data")) as flow:
        with pytest.raises(InvalidSetting, match="does not know"):
            await flow.embed(NOTE)


async def test_the_doctor_says_whose_the_folder_is(of_another: Path, ledger_url: str) -> None:
    findings = await examine(given(of_another, ledger_url))

    [broken] = [found for found in findings if found.part == "blobs" and found.state == "broken"]
    assert "ledger" in broken.text
    assert str(of_another / "blobs" / FILE) in broken.fix


async def test_a_worker_without_the_mounted_folder_is_refused_and_fails_no_document(
    tmp_path: Path, ledger_url: str
) -> None:
    async with Parts(given(tmp_path / "mounted", ledger_url)) as parts:
        assert (await upload(parts)).status_code == 200

    async with Parts(given(tmp_path / "empty", ledger_url)) as parts:
        with pytest.raises(InvalidSetting, match=r"see that \S+/empty/blobs is mounted"):
            await parts.run_worker(asyncio.Event())
        assert await parts.database.read(partial(reads.failures, tenant=parts.tenant)) == []

    async with Parts(given(tmp_path / "mounted", ledger_url)) as parts:
        assert await claim(parts) == 1


async def test_a_process_that_began_before_the_first_upload_notices_that_its_folder_is_another(
    tmp_path: Path, ledger_url: str
) -> None:
    mounted, empty = given(tmp_path / "mounted", ledger_url), given(tmp_path / "empty", ledger_url)
    async with Parts(mounted) as parts, Parts(empty) as apart:
        await apart.check()
        assert (await upload(parts)).status_code == 200

        with pytest.raises(Unavailable):
            await claim(apart)
        assert (await upload(apart)).status_code == 503

        assert blobs_in(tmp_path / "empty") == []
        assert await claim(parts) == 1


@contextmanager
def unmounted(folder: Path) -> Iterator[None]:
    """Have an empty folder in the place of the blobs meanwhile."""
    blobs, away = folder / "blobs", folder.parent / "away"
    blobs.rename(away)
    blobs.mkdir()
    yield
    blobs.rmdir()  # nothing was written there
    away.rename(blobs)


async def test_while_the_folder_is_not_mounted_nothing_is_read_written_or_claimed(
    tmp_path: Path, ledger_url: str
) -> None:
    async with Parts(given(tmp_path / "data", ledger_url)) as parts:
        await upload(parts)
        [path] = blobs_in(tmp_path / "data")
        key = f"uploads/{path.name}"

        with unmounted(tmp_path / "data"):
            with pytest.raises(Unavailable, match="mounted"):
                await parts.blobs.read(key)
            with pytest.raises(Unavailable):
                await parts.blobs.put("uploads/other", [b"other"])
            with pytest.raises(Unavailable):
                await collect(parts)
            with pytest.raises(Unavailable):
                await claim(parts)

        assert await parts.blobs.read(key) == b"Ring the bell."
        with pytest.raises(NotFound):
            await parts.blobs.read("uploads/other")


async def test_a_server_whose_folder_is_not_mounted_is_not_ready_and_takes_no_upload(
    tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "REMEMBERED_SECONDS", 0.0)
    async with Parts(given(tmp_path / "data", ledger_url)) as parts, api(parts) as client:
        await upload(parts)

        with unmounted(tmp_path / "data"):
            assert "none of the blobs" in sentence(await client.get("/readyz"), 503)
            assert (await upload(parts)).status_code == 503

        assert (await client.get("/readyz")).status_code == 200


async def test_a_worker_whose_folder_is_not_mounted_uses_up_no_try(
    tmp_path: Path, ledger_url: str
) -> None:
    stop = asyncio.Event()
    async with Parts(given(tmp_path / "data", ledger_url)) as parts:
        job = (await upload(parts)).json()["JobID"]
        worker = parts.work("worker")
        able = capabilities(parts.settings.chunking.chunker)
        with unmounted(tmp_path / "data"):
            for _ in range(MAX_ATTEMPTS):
                with pytest.raises(Unavailable):
                    await worker.claim([BatchKind.EXTRACT], able, 8)

        working = asyncio.create_task(parts.run_worker(stop))
        async with asyncio.timeout(30):
            while not (view := await job_of(parts, job)).state.ended:  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.05)
        stop.set()
        await working
        assert (view.state, view.docs_failed) == (JobState.COMPLETED, 0)


async def job_of(parts: Parts, id: int) -> JobView:
    return await parts.database.read(partial(reads.job, tenant=parts.tenant, id=id))


@pytest.mark.parametrize("deleted", [False, True])
async def test_its_own_folder_is_known_by_what_is_in_it_and_named(
    tmp_path: Path, deleted: bool
) -> None:
    """Also where all documents were deleted, and what is left waits to be collected."""
    await embedded(tmp_path / "data", deleted=deleted)
    name = named_in(tmp_path / "data")
    (tmp_path / "data" / "blobs" / FILE).unlink()

    async with Parts(given(tmp_path / "data")) as parts:
        await parts.check()
        assert named_in(tmp_path / "data") == name
        assert await parts.database.read(claims.ledger_id) == name


async def test_who_writes_the_id_of_the_ledger_into_the_file_takes_the_folder_over(
    of_another: Path, ledger_url: str
) -> None:
    async with Parts(given(of_another, ledger_url)) as parts:
        with pytest.raises(InvalidSetting) as refused:
            await parts.check()
        name = await parts.database.read(claims.ledger_id)
        assert f"write {name} into {of_another / 'blobs' / FILE}" in refused.value.fix

        (of_another / "blobs" / FILE).write_text(f"{name}\n", "utf-8")

        await parts.check()
        kept = len(blobs_in(of_another))
        assert await collect(parts) == f"{kept} of {kept} blobs deleted"


async def test_a_new_folder_is_named_with_its_first_blob_and_not_before(tmp_path: Path) -> None:
    async with Parts(given(tmp_path / "data")) as parts:
        await parts.check()
        assert await collect(parts) == "0 of 0 blobs deleted"
        assert not (tmp_path / "data" / "blobs").exists()

        await parts.blobs.put("uploads/first", [b"first"])

        assert named_in(tmp_path / "data") == await parts.database.read(claims.ledger_id)


async def test_who_reads_what_is_there_does_not_ask_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Parts(given(tmp_path / "data")) as parts:
        await parts.blobs.put("uploads/first", [b"first"])
        monkeypatch.delattr(OwnedFolder, "trouble")

        assert await parts.blobs.read("uploads/first") == b"first"
        await parts.blobs.put("uploads/first", [b"again"])
