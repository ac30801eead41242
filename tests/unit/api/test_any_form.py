"""Any form at all: an answer in JSON, no failure of the server, and nothing kept of a refusal."""

import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.api.door import EMBEDDINGS, KEY, STORE, client_of, form, uploads_kept
from vectorflow.api.backend import Backend
from vectorflow.domain.credentials import Credentials
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import NotFound, Unavailable

QUICK = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
BOUNDARY = b"----edge"

FIELDS = (
    "EmbeddingsMetadata", "VectorDBMetadata", "LinesPerBatch", "LinesPerChunk", "WebhookURL",
    "DocumentID", "ChunkValidationURL", "Metadata", "PreSignedURL", "chunk_overlap", "SourceData",
)  # fmt: skip
KEYS = (
    "embeddings_type", "chunk_size", "chunk_overlap", "chunk_strategy", "model",
    "hugging_face_model_name", "vector_db_type", "index_name", "environment", "collection",
)  # fmt: skip
WORDS = (
    "open_ai", "OPENAI", "self_hosted", "hash:8", "text-embedding-3-small", "x@8", "x@-1", "x@",
    "EXACT", "paragraph_by_characters", "memory", "qdrant", "QDRANT", "pinecone", "weaviate",
    "lancedb", "docs", "default", "127.0.0.1:99999999", "localhost:1", "[::1", "[::1]:1",
    "http://[::ffff:127.0.0.1]:6333", "qdrant://u:p@host", "https://host/path?tls=maybe",
    "https://169.254.169.254", "https://10.0.0.1/x", "https://example.org:99999/x", "file:///etc",
    "https://[v1.x]/", "memory://other", "lancedb:///../..", "0", "-1", "16", "9" * 30, "1e9",
)  # fmt: skip
HEADERS = (
    "X-EmbeddingAPI-Key", "X-VectorDB-Key", "X-Webhook-Key", "Idempotency-Key", "Expect",
    "Content-Length", "Transfer-Encoding", "Content-Encoding", "X-Forwarded-For",
)  # fmt: skip

texts = st.text(max_size=30) | st.sampled_from(WORDS)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=5
)
objects = st.dictionaries(st.sampled_from(KEYS) | texts, values, max_size=4)


def odd_object(good: Mapping[str, object]) -> st.SearchStrategy[bytes]:
    return objects.map(lambda odd: json.dumps({**good, **odd}).encode())


def odd_value() -> st.SearchStrategy[bytes]:
    return (
        odd_object(EMBEDDINGS)
        | odd_object(STORE)
        | values.map(lambda value: json.dumps(value).encode())
        | texts.map(str.encode)
        | st.binary(max_size=30)
    )


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a form."""

    name: bytes
    file_name: bytes | None
    data: bytes

    def written(self) -> bytes:
        ending = b"" if self.file_name is None else b'; filename="%b"' % self.file_name
        head = b'Content-Disposition: form-data; name="%b"%b' % (self.name, ending)
        return b"--%b\r\n%b\r\n\r\n%b\r\n" % (BOUNDARY, head, self.data)


def good_fields() -> list[Part]:
    return [Part(name.encode(), None, value.encode()) for name, value in form().items()]


FILE = Part(b"SourceData", b"a.txt", b"Some text.")
AWAY = Part(
    b"VectorDBMetadata",
    None,
    b'{"vector_db_type": "qdrant", "index_name": "docs", "environment": "127.0.0.1:1"}',
)
"""A store that does not answer."""

names = st.sampled_from(FIELDS).map(str.encode) | st.binary(max_size=10)
file_names = st.sampled_from([b"a.txt", b"../a.md", b"", b'"', b"\0", b"a" * 600]) | st.binary(
    max_size=20
)
fields = st.builds(Part, names, st.none(), odd_value())
files = st.builds(
    Part,
    st.sampled_from([b"SourceData", b"file", b"other"]),
    file_names,
    st.sampled_from([b"Some text.", b"", b" \n", b"\0\xff"]) | st.binary(max_size=30),
)
parts_of_forms = st.tuples(st.booleans(), st.lists(fields, max_size=4), st.lists(files, max_size=3))
header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=30)
headers_of_forms = st.dictionaries(st.sampled_from(HEADERS), header_values | texts, max_size=3)


@pytest.fixture
async def client(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """Nothing outside of this process answers, nor can it be found."""

    async def open_index(tenant: str, pipeline: Pipeline, given: Credentials) -> int:
        if not pipeline.store.startswith("memory:"):
            raise Unavailable("the store does not answer")
        return await backend.open_index(tenant, pipeline, given)

    async def no_host(*_asked: object, **_options: object) -> str:
        raise NotFound("Pinecone has no such index")

    def no_address(*_asked: object, **_options: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    monkeypatch.setattr("vectorflow.adapters.vector_stores.pinecone.find_host", no_host)
    async with client_of(replace(backend, open_index=open_index), vectorflowkey=KEY) as opened:
        yield opened


@given(
    path=st.sampled_from(["/embed", "/s3", "/jobs"]),
    parts=parts_of_forms,
    headers=headers_of_forms,
)
@example(path="/embed", parts=(True, [], [FILE]), headers={})
@example(path="/embed", parts=(True, [], [FILE]), headers={"X-VectorDB-Key": "of-no-use-here"})
@example(path="/embed", parts=(True, [AWAY], [FILE]), headers={})
@example(path="/jobs", parts=(True, [AWAY], [replace(FILE, name=b"file")]), headers={})
@QUICK
async def test_any_form_is_answered_and_a_refused_one_leaves_nothing(
    client: httpx.AsyncClient,
    backend: Backend,
    path: str,
    parts: tuple[bool, Sequence[Part], Sequence[Part]],
    headers: Mapping[str, str],
) -> None:
    is_good, odd, uploads = parts
    replaced = {part.name for part in odd}
    sent = [part for part in good_fields() if is_good and part.name not in replaced]
    body = b"".join(part.written() for part in [*sent, *odd, *uploads]) + b"--%b--\r\n" % BOUNDARY
    given_headers = {name: value.encode("utf-8") for name, value in headers.items()}
    kind = {"Content-Type": b"multipart/form-data; boundary=%b" % BOUNDARY}
    before = await uploads_kept(backend)

    answer = await client.post(path, content=body, headers=given_headers | kind)

    said = answer.json()
    assert answer.status_code != 500, said
    assert isinstance(said, dict)
    if answer.status_code != 200:
        assert "; " in said["error"]  # what is wrong; what to do
        assert said["code"]
        assert await uploads_kept(backend) == before
