"""A queue between an API and a worker that hardly ever polls."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.brokers import PASSWORD, Backdoor, Line, free_port
from tests.unit.api.door import KEY, a_file, client_of, form
from vectorflow import settings
from vectorflow.adapters.queues.memory import brokers
from vectorflow.domain.jobs import JobState
from vectorflow.errors import InvalidSetting, KeyRefused, UnknownPlugin
from vectorflow.ledger import reads
from vectorflow.ports.queue import ALL
from vectorflow.settings import Settings
from vectorflow.wiring import Parts
from vectorflow.wiring.api import api_backend

SOON = 2.0
"""Seconds in which a worker that is woken has begun, and ended too."""


@pytest.fixture
def memory_url() -> str:
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture(params=["memory", "rabbitmq", "redis"])
def queue_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    url: str = request.getfixturevalue(f"{request.param}_url")
    yield url
    if request.param != "memory":
        Backdoor(url, prefix_of(tmp_path)).remove_all()


def prefix_of(folder: Path) -> str:
    return f"test-{folder.name[:20]}"


def given(folder: Path, queue_url: str | None, **more: object) -> Settings:
    chosen = {
        "data_dir": folder,
        "embedder": "hash:8",
        "store": f"memory://{folder}",
        "api.key": KEY,
        "blobs.free_floor_bytes": 0,
        "queue.url": queue_url,
        "queue.prefix": prefix_of(folder),
        "queue.poll_seconds": 3600,
        "worker.poll_seconds": 3600,
    }
    return settings.load(chosen | more, environ={}, directory=folder)


@asynccontextmanager
async def working(settings: Settings) -> AsyncGenerator[None]:
    stop = asyncio.Event()
    async with Parts(settings) as parts:
        worker = asyncio.create_task(parts.run_worker(stop))
        try:
            yield
        finally:
            stop.set()
            await worker


@asynccontextmanager
async def api(settings: Settings) -> AsyncGenerator[tuple[Parts, httpx.AsyncClient]]:
    async with Parts(settings) as parts:
        backend = api_backend(parts, environ={})
        backend = replace(backend, limits=replace(backend.limits, answer_seconds=0.0))
        async with client_of(backend, vectorflowkey=KEY) as client:
            yield parts, client


async def upload(client: httpx.AsyncClient, text: str) -> int:
    answer = await client.post("/embed", data=form(), files=a_file(text.encode()))
    assert answer.status_code == 200, answer.text
    return int(answer.json()["JobID"])


async def ended(parts: Parts, job: int, seconds: float) -> JobState:
    read = partial(reads.job, tenant="default", id=job)
    async with asyncio.timeout(seconds):
        while not (view := await parts.database.read(read)).state.ended:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return view.state


async def test_a_worker_that_would_poll_once_an_hour_begins_at_once(
    tmp_path: Path, queue_url: str
) -> None:
    chosen = given(tmp_path, queue_url)
    async with api(chosen) as (parts, client), working(chosen):
        await ended(parts, await upload(client, "The first."), 20.0)  # the worker may still start

        took: list[float] = []
        for number in range(3):
            await asyncio.sleep(0.3)  # until it is idle
            began = time.monotonic()
            job = await upload(client, f"Text {number}.")
            assert await ended(parts, job, 20.0) is JobState.COMPLETED
            took.append(time.monotonic() - began)

        assert min(took) < SOON  # this machine may have been busy


async def test_work_whose_message_was_lost_is_announced_again(
    tmp_path: Path, memory_url: str
) -> None:
    chosen = given(tmp_path, memory_url, **{"queue.sweep_seconds": 1})
    silent = given(tmp_path, f"memory://{uuid.uuid4().hex}")
    async with api(silent) as (parts, client), working(chosen):
        await asyncio.sleep(0.5)  # until it has looked, and found nothing
        job = await upload(client, "Nobody hears of it.")

        assert await ended(parts, job, 20.0) is JobState.COMPLETED


async def test_a_worker_whose_broker_is_away_polls_as_if_there_were_none(tmp_path: Path) -> None:
    url = f"amqp://me:{PASSWORD}@127.0.0.1:{free_port()}/"
    chosen = given(tmp_path, url, **{"worker.poll_seconds": 0.05})
    async with api(chosen) as (parts, client), working(chosen):
        began = time.monotonic()
        job = await upload(client, "Some text.")
        assert time.monotonic() - began < SOON

        assert await ended(parts, job, 20.0) is JobState.COMPLETED


async def test_a_broker_that_is_away_is_no_reason_not_to_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = given(tmp_path, f"amqp://me:{PASSWORD}@127.0.0.1:{free_port()}/")

    async with Parts(chosen) as parts:
        await parts.check()

    assert "queue_unreachable_workers_poll" in caplog.text
    assert PASSWORD not in caplog.text


async def test_a_queue_that_can_never_work_is_refused_at_the_start(
    tmp_path: Path, rabbitmq_url: str
) -> None:
    wrong = rabbitmq_url.replace("@", f"{PASSWORD}@", 1)
    async with Parts(given(tmp_path, wrong)) as parts:
        with pytest.raises(KeyRefused, match="refuses this account"):
            await parts.check()
    async with Parts(given(tmp_path, "amqp:///vhost")) as parts:
        with pytest.raises(InvalidSetting, match="names no host"):
            await parts.check()
    with pytest.raises(UnknownPlugin, match="no queues named 'carrier-pigeon'"):
        async with Parts(given(tmp_path, "carrier-pigeon://home")):
            pass


async def test_what_a_request_brings_is_in_no_message(tmp_path: Path, memory_url: str) -> None:
    chosen = given(tmp_path, memory_url)
    async with api(chosen) as (_, client):
        await upload(client, f"A text with {PASSWORD} in it.")

    waiting = brokers[memory_url].waiting
    bodies = [body for messages in waiting.values() for body in messages]
    assert len(bodies) == 1
    assert PASSWORD.encode() not in bodies[0]
    assert len(bodies[0]) < 100


async def test_few_messages_are_left_after_the_work(tmp_path: Path, rabbitmq_url: str) -> None:
    chosen = given(tmp_path, rabbitmq_url)
    backdoor = Backdoor(rabbitmq_url, prefix_of(tmp_path))
    async with api(chosen) as (parts, client), working(chosen):
        jobs = [await upload(client, f"Text {number}.") for number in range(20)]
        for job in jobs:
            assert await ended(parts, job, 20.0) is JobState.COMPLETED
    left = sum(backdoor.size(wakeup) for wakeup in ALL)
    backdoor.remove_all()

    assert left <= len(ALL)


@pytest.fixture(params=["rabbitmq", "redis"])
def line(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Line, str, str]]:
    """A line to a broker, its address over that line, and without it."""
    direct: str = request.getfixturevalue(f"{request.param}_url")
    port = urlsplit(direct).port or 0
    made = Line(port)
    yield made, direct.replace(f":{port}", f":{made.port}"), direct
    made.close()
    Backdoor(direct, prefix_of(tmp_path)).remove_all()


@pytest.mark.slow
async def test_a_line_that_falls_silent_keeps_no_request_waiting_and_loses_nothing(
    tmp_path: Path, line: tuple[Line, str, str]
) -> None:
    between, over_it, direct = line
    async with api(given(tmp_path, over_it)) as (parts, client), working(given(tmp_path, direct)):
        await ended(parts, await upload(client, "The first."), 20.0)
        between.fall_silent()
        began = time.monotonic()

        job = await upload(client, "The second.")

        assert time.monotonic() - began < SOON
        assert await ended(parts, job, 30.0) is JobState.COMPLETED


@pytest.mark.slow
async def test_a_listener_whose_line_fell_silent_connects_anew(
    tmp_path: Path, line: tuple[Line, str, str]
) -> None:
    between, over_it, direct = line
    sweeping = {"queue.sweep_seconds": 1}  # and twice that is suspicious
    deaf = given(tmp_path, over_it, **sweeping)
    async with api(given(tmp_path, direct, **sweeping)) as (parts, client), working(deaf):
        await ended(parts, await upload(client, "The first."), 20.0)
        before = between.connections
        between.fall_silent()

        job = await upload(client, "The second.")

        assert await ended(parts, job, 30.0) is JobState.COMPLETED
        async with asyncio.timeout(30.0):  # the job may end by a look of its own before that
            while between.connections <= before:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
