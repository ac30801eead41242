"""What is sent is what arrives: texts on their way through the API to a store or a receiver."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiohttp import web

from tests.acceptance.v0_site import (
    HOOK_KEY,
    LOCAL,
    OPEN_AI,
    PROVIDER_KEY,
    Site,
    chunks,
    make_collection,
    points,
    v0_site,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with v0_site(tmp_path_factory.mktemp("texts")) as running:
        yield running


def test_a_text_arrives_with_its_line_breaks(site: Site) -> None:
    text = "alpha\nbeta gamma\n\nSecond paragraph\r\nwith a line"

    assert site.end_of(site.deliver(text, "/lines")) == "COMPLETED"

    assert "".join(site.delivered("/lines")).split("\n") == text.split("\n")


def test_paragraphs_are_cut_at_blank_lines(site: Site) -> None:
    paragraphs = [" ".join([f"word{number}"] * 14) for number in range(6)]
    cut = LOCAL | {"chunk_size": 16, "chunk_overlap": 0, "chunk_strategy": "PARAGRAPH"}

    job = site.deliver("\n\n".join(paragraphs), "/paragraphs", EmbeddingsMetadata=cut)

    assert site.end_of(job) == "COMPLETED"
    assert sorted(text.strip() for text in site.delivered("/paragraphs")) == paragraphs


def test_no_character_is_broken_on_the_way(site: Site) -> None:
    """Of this text most characters are several tokens."""
    text = "深層学習は楽しい。👩‍👩‍👧‍👦 犬も猫も好きだ🐕‍🦺🏳️‍🌈 한국어 텍스트 " * 12
    cut = OPEN_AI | {"chunk_size": 16, "chunk_overlap": 4, "chunk_strategy": "EXACT"}

    job = site.deliver(
        text, "/signs", headers={"X-EmbeddingAPI-Key": PROVIDER_KEY}, EmbeddingsMetadata=cut
    )

    assert site.end_of(job) == "COMPLETED"
    arrived = site.delivered("/signs")
    assert len(arrived) > 10
    assert all("\ufffd" not in chunk and chunk in text for chunk in arrived)
    assert set("".join(arrived)) == set(text)


def test_a_hundred_lines_at_ten_a_batch_are_ten_batches(site: Site) -> None:
    text = "".join(f"This is line {number}.\n" for number in range(100))
    one = site.send(text, LinesPerBatch="10")
    answer = site.send(
        text,
        path="/jobs",
        headers=HOOK_KEY,
        WebhookURL=site.around.url("/batches"),
        LinesPerBatch="10",
    )

    assert site.end_of(answer.json()["successful_uploads"]["rules.txt"]) == "COMPLETED"
    assert len(site.around.received["/batches"]) == 10
    assert one.json()["message"] == "Successfully added 10 batches to the queue"


@pytest.mark.parametrize("ending", ["txt", "md"])
def test_files_of_one_name_that_come_at_once_stay_apart(site: Site, ending: str) -> None:
    name, hook = f"same.{ending}", f"/same/{ending}"

    def upload(number: int) -> int:
        answer = site.send(
            f"This one is number{number}.",
            path="/jobs",
            name=name,
            headers=HOOK_KEY,
            WebhookURL=site.around.url(hook),
        )
        job: int = answer.json()["successful_uploads"][name]
        return job

    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(upload, range(8)))

    assert {site.end_of(job) for job in jobs} == {"COMPLETED"}
    arrived = {body["JobID"]: chunks(body)[0]["text"] for body in site.around.received[hook]}
    assert arrived == {job: f"This one is number{n}." for n, job in enumerate(jobs)}


def test_a_file_is_fetched_and_embedded(site: Site) -> None:
    async def file(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"Fetched from a bucket.")

    url = site.around.on("/bucket/rules.txt", file)

    assert site.end_of(site.fetch(f"{url}?signature=x", "/fetched")) == "COMPLETED"
    assert site.delivered("/fetched") == ["Fetched from a bucket."]


def test_a_text_in_latin_1_arrives_as_it_was_meant(site: Site) -> None:
    job = site.deliver("Das Café in der Größe.".encode("latin-1"), "/latin")

    assert site.end_of(job) == "COMPLETED"
    assert site.delivered("/latin") == ["Das Café in der Größe."]


def test_the_same_document_twice_is_stored_once(site: Site) -> None:
    make_collection(site.qdrant, "once", 64)
    store = site.qdrant_store | {"index_name": "once"}
    for _ in range(2):
        assert site.end_of(site.send(VectorDBMetadata=store)) == "COMPLETED"

    assert len(points(site.qdrant, "once")) == 1


def test_metadata_and_id_stand_beside_every_record(site: Site) -> None:
    make_collection(site.qdrant, "labelled", 64)
    store = site.qdrant_store | {"index_name": "labelled"}
    answer = site.send(VectorDBMetadata=store, DocumentID="rules-7", Metadata={"team": "hr"})

    assert site.end_of(answer) == "COMPLETED"
    [payload] = points(site.qdrant, "labelled")
    assert payload["source_document"] == "rules-7"
    assert '"hr"' in json.dumps(payload)
