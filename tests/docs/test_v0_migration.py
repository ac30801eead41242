"""Every row of the page about v0 is checked against the product."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs import v0_checks_around, v0_checks_form, v0_checks_http
from tests.docs.pages import DOCS
from tests.docs.v0_server import CHECKS, Lab

PAGE = DOCS / "reference" / "v0-migration.md"
MODULES = (v0_checks_around, v0_checks_form, v0_checks_http)

KNOWN = [
    "/embed", "/jobs", "/s3", "/jobs/ID", "/jobs/ID/status", "/jobs/status", "/dequeue",
    "/images", "/images/search", "VectorFlowKey", "Authorization", "X-EmbeddingAPI-Key",
    "X-VectorDB-Key", "X-Webhook-Key", "X-Embeddings-Webhook-Key", "SourceData", "file",
    "PreSignedURL", "EmbeddingsMetadata", "VectorDBMetadata", "LinesPerBatch", "LinesPerChunk",
    "WebhookURL", "DocumentID", "ChunkValidationURL", "chunk_overlap", "ReturnVectors", "TopK",
    "embeddings_type", "chunk_size", "chunk_strategy", "model", "hugging_face_model_name",
    "docker_image", "vector_db_type", "index_name", "environment", "collection", "OPEN_AI",
    "COHERE", "ANTHROPIC", "SELF_HOSTED", "HUGGING_FACE", "IMAGE", "JINA", "TITAN", "PINECONE",
    "WEAVIATE", "MILVUS", "QDRANT", "DEEPLAKE", "VESPA", "PGVECTOR", "REDIS", "LANCEDB",
    "MONGODB", "EXACT", "EXACT_BY_CHARACTERS", "PARAGRAPH", "PARAGRAPH_BY_CHARACTERS",
    "SENTENCE", "SENTENCE_BY_CHARACTERS", "CUSTOM", "NOT_STARTED", "IN_PROGRESS", "COMPLETED",
    "FAILED", "PARTIALLY_COMPLETED", "CREATING_BATCHES", "PROCESSING_BATCHES", "message",
    "JobID", "JobStatus", "Jobs", "successful_uploads", "failed_uploads", "empty_files_count",
    "duplicate_files_count", "Embeddings", "text", "chunk_id", "vector", "chunks",
    "valid_chunks", "INTERNAL_API_KEY", "POSTGRES_USERNAME", "POSTGRES_PASSWORD", "POSTGRES_DB",
    "POSTGRES_HOST", "POSTGRES_DATABASE_NAME", "LOCAL_VECTOR_DB", "OPEN_AI_KEY", "PINECONE_KEY",
    "API_REQUEST_URL", "error", "RABBITMQ_USERNAME", "RABBITMQ_PASSWORD", "RABBITMQ_HOST",
    "RABBITMQ_PORT",
    *v0_checks_around.GONE,
]  # fmt: skip
"""What v0 had a name for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the page."""

    line: int
    then: str
    now: str
    check: str

    def __str__(self) -> str:
        return f"{self.line}-{self.check}"


def _rows() -> Iterator[Row]:
    for line, text in enumerate(PAGE.read_text("utf-8").splitlines(), start=1):
        if not text.startswith("| ") or text == "| v0 | now |":
            continue
        then, now = re.split(r"(?<!\\) \| ", text.removeprefix("| ").removesuffix(" |"))
        found = re.search(r" <!-- ([\w-]+) -->$", now)
        yield Row(line=line, then=then, now=now, check=found[1] if found else "")


ROWS = list(_rows())


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row_names_its_check(row: Row) -> None:
    assert row.check in CHECKS


def test_no_check_is_left_over() -> None:
    assert set(CHECKS) == {row.check for row in ROWS}
    assert {check.__module__ for check in CHECKS.values()} == {one.__name__ for one in MODULES}


@pytest.mark.parametrize("name", KNOWN)
def test_the_page_speaks_of_every_name_of_v0(name: str) -> None:
    spoken = " ".join(row.then for row in ROWS)

    assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w/-])", spoken)


@pytest.mark.parametrize("name", sorted({row.check for row in ROWS}))
async def test_what_a_row_says_is_so(
    name: str, tmp_path: Path, sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del sqlite_ledger  # is in the folder, made already
    monkeypatch.delenv("LOCAL_VECTOR_DB", raising=False)

    await CHECKS[name](Lab(folder=tmp_path, patch=monkeypatch))
