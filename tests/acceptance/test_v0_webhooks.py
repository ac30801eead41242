"""Webhooks and validation hooks of the v0 API, between real processes."""

import threading
from collections.abc import Callable, Iterator
from typing import cast

import httpx
import lancedb
import pytest

from tests.acceptance.api_server import wait_until
from tests.acceptance.outside import RESET, Received, Spot
from tests.acceptance.v0_calls import (
    OPEN_AI,
    OWN_STORE,
    Site,
    batches_of,
    is_vector_of,
    job_of,
    lines,
    running_site,
)

pytestmark = pytest.mark.slow

HOOK_KEY = "key-of-the-hook"
DELIVERY = "x-vectorflow-delivery"
NO_STORE = OWN_STORE | {"index_name": "stored-by-nobody"}
NOT_THERE = {"vector_db_type": "QDRANT", "index_name": "test-1536", "environment": "qdrant"}
"""What existing clients send beside a webhook too; nobody looks for it."""

Chunk = dict[str, object]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data_dir = tmp_path_factory.mktemp("v0") / "data"
    with running_site(data_dir, VECTORFLOW_HOOKS__TIMEOUT="4") as running:
        yield running


def deliver(site: Site, spot: Spot, text: str, **fields: object) -> httpx.Response:
    """Ask for vectors to be sent to a webhook, as existing clients do."""
    fields = {"EmbeddingsMetadata": OPEN_AI, "VectorDBMetadata": NO_STORE} | fields
    headers = {"X-Webhook-Key": HOOK_KEY}
    return site.embed(text, headers=headers, WebhookURL=spot.url, **fields)


def texts_embedded(site: Site) -> int:
    stats = site.outside.stats()
    assert stats["repeated_texts"] == 0
    return int(str(stats["texts"]))


def test_each_batch_is_posted_and_nothing_is_stored(site: Site) -> None:
    spot = site.receiver.spot("/plain")

    answer = deliver(site, spot, lines(30, "Posted"), LinesPerBatch="10", DocumentID="rules")
    status = site.end(answer)

    assert (status, batches_of(answer), len(spot.received)) == ("COMPLETED", 3, 3)
    for request in spot.received:
        assert set(request.json) == {"Embeddings", "DocumentID", "JobID"}
        assert (request.json["DocumentID"], request.json["JobID"]) == ("rules", job_of(answer))
        assert request.headers["x-embeddings-webhook-key"] == HOOK_KEY
        assert request.headers["content-type"] == "application/json"
    assert len({request.headers[DELIVERY] for request in spot.received}) == 3
    assert all(set(chunk) == {"text", "chunk_id", "vector"} for chunk in spot.chunks)
    assert len({chunk["chunk_id"] for chunk in spot.chunks}) == len(spot.chunks)
    assert all(is_vector_of(chunk["vector"], str(chunk["text"])) for chunk in spot.chunks)
    told = " ".join(str(chunk["text"]) for chunk in spot.chunks)
    assert all(f"Posted {number} says" in told for number in range(30))
    stores = lancedb.connect(site.server.data_dir / "vectors")
    assert "stored-by-nobody" not in stores.list_tables().tables


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_means_delivered(site: Site, status: int) -> None:
    spot = site.receiver.spot(f"/status-{status}", status)

    answer = deliver(site, spot, f"Text for {status}.", VectorDBMetadata=NOT_THERE)

    assert site.end(answer) == "COMPLETED"
    assert len(spot.received) == 1
    assert spot.received[0].json["DocumentID"] == ""


@pytest.mark.parametrize("trouble", [500, 503, 429, 408, RESET], ids=str)
def test_what_may_pass_is_tried_again_under_the_same_delivery_and_paid_once(
    site: Site, trouble: int | str
) -> None:
    spot = site.receiver.spot(f"/trouble-{trouble}", trouble, 200)
    before = texts_embedded(site)

    answer = deliver(site, spot, f"Text after {trouble}.")

    assert site.end(answer) == "COMPLETED"
    first, second = spot.received
    assert first.headers[DELIVERY] == second.headers[DELIVERY]
    assert first.body == second.body
    assert texts_embedded(site) == before + 1


@pytest.mark.parametrize("status", [400, 401, 404, 302])
def test_a_refusal_fails_the_document_at_once_with_the_reason(site: Site, status: int) -> None:
    spot = site.receiver.spot(f"/refusal-{status}", status)

    job = job_of(deliver(site, spot, f"Text for {status}."))

    assert site.end(job) == "FAILED"
    assert len(spot.received) == 1
    [failure] = site.failures(job)
    assert (failure.code, failure.stage) == ("hook_refused", "embed")
    assert f"answered {status}" in failure.message
    assert failure.fix


def test_a_receiver_that_never_answers_delays_nobody_and_is_asked_again(site: Site) -> None:
    released = threading.Event()
    silent = site.receiver.spot("/silent", say=answering_after(released))
    slow = site.receiver.spot("/slow", 2.0, 200)
    quick = site.receiver.spot("/quick")

    hanging = job_of(deliver(site, silent, lines(30, "Hanging"), LinesPerBatch="30"))
    slower = job_of(deliver(site, slow, "A slow one."))
    wait_until(lambda: bool(silent.received and slow.received))
    delivered = job_of(deliver(site, quick, "A quick one."))
    stored = job_of(site.embed("A stored one."))
    others = [site.end(job) for job in (delivered, stored, slower)]
    wait_until(lambda: len(silent.received) == 2)
    meanwhile = site.status(hanging)
    released.set()

    assert others == ["COMPLETED"] * 3
    assert meanwhile == "IN_PROGRESS"
    assert site.end(hanging) == "COMPLETED"
    assert len(slow.received) == len(quick.received) == 1
    assert len({request.headers[DELIVERY] for request in silent.received}) == 1
    texts_embedded(site)


def answering_after(released: threading.Event) -> Callable[[Received], int]:
    def say(_request: Received) -> int:
        return 200 if released.wait(60) else 500

    return say


def test_metadata_and_what_a_validation_adds_stand_beside_the_text(site: Site) -> None:
    spot = site.receiver.spot("/extras")
    hook = validation(site, "/adds", lambda chunk: chunk | {"score": 7, "tags": ["a"]})

    answer = deliver(site, spot, "Some text.", Metadata={"team": "hr"}, ChunkValidationURL=hook.url)

    assert site.end(answer) == "COMPLETED"
    [chunk] = spot.chunks
    assert (chunk["team"], chunk["score"], chunk["tags"]) == ("hr", 7, ["a"])
    assert chunk["text"] == "Some text."


def validation(site: Site, path: str, judge: Callable[[Chunk], Chunk | None]) -> Spot:
    """Open a validation hook, which keeps what a function makes of each chunk."""

    def say(request: Received) -> dict[str, object]:
        assert set(request.json) == {"chunks"}
        chunks = cast("list[Chunk]", request.json["chunks"])
        assert all(set(chunk) == {"text", "chunk_id"} for chunk in chunks)
        judged = [judge(chunk) for chunk in chunks]
        return {"valid_chunks": [chunk for chunk in judged if chunk is not None]}

    return site.receiver.spot(path, say=say)


def test_a_validation_drops_rewrites_and_adds_before_anything_is_paid(site: Site) -> None:
    def judge(chunk: Chunk) -> Chunk | None:
        text = str(chunk["text"])
        if "Kept 3 says" in text:
            return chunk | {"text": "Rewritten.", "by": "the hook"}
        return chunk if "Kept 7 says" in text else None

    hook = validation(site, "/judges", judge)
    site.make_collection("judged")
    before = texts_embedded(site)

    answer = site.embed(
        lines(10, "Kept"),
        LinesPerBatch="1",
        EmbeddingsMetadata=OPEN_AI,
        VectorDBMetadata=site.qdrant("judged"),
        Metadata={"team": "hr"},
        ChunkValidationURL=hook.url,
    )

    assert (site.end(answer), batches_of(answer)) == ("COMPLETED", 10)
    points = {point.text: point for point in site.points("judged")}
    assert set(points) == {"Rewritten.", "Kept 7 says that 7 is a number."}
    assert points["Rewritten."].payload["by"] == "the hook"
    assert {point.payload["team"] for point in points.values()} == {"hr"}
    assert all(is_vector_of(point.vector, text) for text, point in points.items())
    assert texts_embedded(site) == before + 2
    assert len(hook.received) == 10  # once for each stretch


def test_a_validation_that_keeps_nothing_fails_the_document(site: Site) -> None:
    hook = validation(site, "/keeps-nothing", lambda _: None)

    job = job_of(site.embed("Some text.", ChunkValidationURL=hook.url))

    assert site.end(job) == "FAILED"
    [failure] = site.failures(job)
    assert (failure.code, failure.stage) == ("empty_document", "extract")
    assert "validation hook kept no chunk" in failure.message


def test_a_validation_that_breaks_is_asked_again(site: Site) -> None:
    hook = site.receiver.spot("/breaks", say=breaking_once())

    answer = site.embed("Some checked text.", ChunkValidationURL=hook.url)

    assert site.end(answer) == "COMPLETED"
    first, second = hook.received
    assert first.body == second.body


def breaking_once() -> Callable[[Received], int | dict[str, object]]:
    broken = False

    def say(request: Received) -> int | dict[str, object]:
        nonlocal broken
        if not broken:
            broken = True
            return 500
        return {"valid_chunks": request.json["chunks"]}

    return say


ANSWERS: dict[str, object] = {
    "no-list": {"chunks": []},
    "strange": {"valid_chunks": [{"text": "x", "chunk_id": "never-sent"}]},
    "no-text": {"valid_chunks": [{"chunk_id": "x"}]},
    "refused": 403,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_validation_in_another_form_fails_the_document_with_the_reason(
    site: Site, name: str
) -> None:
    answer = ANSWERS[name]
    assert isinstance(answer, int | dict)
    hook = site.receiver.spot(f"/answers-{name}", answer)

    job = job_of(site.embed("Some text.", ChunkValidationURL=hook.url))

    assert site.end(job) == "FAILED"
    [failure] = site.failures(job)
    assert failure.code == "hook_refused"
    assert "validation hook at '127.0.0.1'" in failure.message
    assert "never-sent" not in str(failure)
    assert len(hook.received) == 1
