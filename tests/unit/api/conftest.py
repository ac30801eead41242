"""An API over a real ledger and real blobs in a temporary folder."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.unit.api.door import KEY, client_of
from vectorflow import settings
from vectorflow.api.backend import Backend
from vectorflow.wiring import Parts
from vectorflow.wiring.api import api_backend


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    given = {
        "data_dir": tmp_path,
        "embedder": "hash:8",
        "store": f"memory://{uuid.uuid4().hex}",
        "api.key": f"{KEY},older-key",
        "api.max_upload_bytes": 1 << 20,
        "blobs.free_floor_bytes": 0,
    }
    async with Parts(settings.load(given, environ={}, directory=tmp_path)) as opened:
        yield opened


@pytest.fixture
def backend(parts: Parts) -> Backend:
    made = api_backend(parts, environ={"LOCAL_VECTOR_DB": "qdrant"})
    return replace(made, limits=replace(made.limits, answer_seconds=0.0))


@pytest.fixture
async def client(backend: Backend) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(backend, vectorflowkey=KEY) as opened:
        yield opened
