"""Requests to an API over a real ledger and real blobs, without a socket."""

import json

import httpx

from vectorflow.api.app import make_app
from vectorflow.api.backend import Backend

KEY = "the-key"
EMBEDDINGS = {"embeddings_type": "SELF_HOSTED", "chunk_size": 128, "chunk_overlap": 16}
STORE = {"vector_db_type": "memory", "index_name": "docs", "environment": ""}


def form(**fields: object) -> dict[str, str]:
    """Fields of a good form, with some replaced; None leaves one out."""
    good: dict[str, object] = {"EmbeddingsMetadata": EMBEDDINGS, "VectorDBMetadata": STORE}
    given = {name: value for name, value in (good | fields).items() if value is not None}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
    }


def a_file(data: bytes = b"Some text.", name: str = "a.txt") -> dict[str, tuple[str, bytes]]:
    return {"SourceData": (name, data)}


def client_of(backend: Backend, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(make_app(backend))
    return httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers)


async def uploads_kept(backend: Backend) -> int:
    return len([blob async for blob in backend.blobs.list("uploads/")])


def sentence(answer: httpx.Response, status: int) -> str:
    """The error of an answer that has this status, and is a JSON object as every answer."""
    assert answer.status_code == status, answer.text
    if f"{answer.request.url.path.lstrip('/')}/".startswith("v1/"):
        said = problem(answer, status)
        return f"{said['detail']}; {said['fix']}"
    assert answer.headers["content-type"] == "application/json"
    error: str = answer.json()["error"]
    return error


def problem(answer: httpx.Response, status: int) -> dict[str, object]:
    """What an answer below `/v1` says that is no success."""
    assert answer.headers["content-type"] == "application/problem+json"
    said: dict[str, object] = answer.json()
    assert set(said) == {"title", "status", "detail", "code", "fix", "retryable"}
    assert (answer.status_code, said["status"]) == (status, status), said
    assert said["retryable"] is (status in {408, 429, 503})
    return said
