"""What the server calls misbehaves: a refusal at the door, or a dead letter with its reason."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest
from aiohttp import web

from tests.acceptance.api_server import wait_until
from tests.acceptance.v0_site import (
    MOST_FETCHED,
    OPEN_AI,
    OWN_STORE,
    PROVIDER_KEY,
    TEXT,
    Site,
    job_of,
    make_collection,
    v0_site,
)
from tests.integration.local_servers import Handler, answering, to
from vectorflow.domain.retries import MAX_ATTEMPTS
from vectorflow.ledger import transitions
from vectorflow.testing.pinecone_server import KEY as PINECONE_KEY
from vectorflow.testing.provider import Faults

KEYED = {"X-VectorDB-Key": PINECONE_KEY}
PAID_STORE = OWN_STORE | {"index_name": "paid"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with v0_site(tmp_path_factory.mktemp("services")) as running:
        yield running


def holding(body: bytes, **headers: str) -> Handler:
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers=named)

    return answer


def streaming(block: bytes, *, pause: float = 0.0, says: int | None = None) -> Handler:
    """Send a block again and again, or once and hang up where a length is said."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = says
        await response.prepare(request)
        await response.write(block)
        while says is None:
            await asyncio.sleep(pause)
            await response.write(block)
        if request.transport:
            request.transport.abort()
        return response

    return answer


async def never(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def slow(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(0.4)
    return web.Response(status=204)


FETCHED: dict[str, tuple[Handler, int, str]] = {
    "/403": (answering(403), 400, "hook_refused"),
    "/404": (answering(404), 400, "hook_refused"),
    "/500": (answering(500), 503, "unavailable"),
    "/503": (answering(503, Retry_After="7"), 503, "unavailable"),
    "/429": (answering(429), 429, "throttled"),
    "/204": (answering(204), 400, "hook_refused"),
    "/206": (answering(206), 400, "hook_refused"),
    "/inside": (to("https://10.0.0.1/x"), 400, "forbidden_address"),
    "/metadata": (to("http://169.254.169.254/latest"), 400, "forbidden_address"),
    "/to-file": (to("file:///etc/passwd"), 400, "forbidden_address"),
    "/circle": (to("/circle"), 400, "hook_refused"),
    "/endless": (streaming(b"a" * 4096), 413, "too_large"),
    "/drip": (streaming(b"a", pause=0.2), 503, "unavailable"),
    "/silent": (never, 503, "unavailable"),
    "/short": (streaming(b"half of it", says=1000), 503, "unavailable"),
    "/says-too-much": (streaming(b"a", says=MOST_FETCHED + 1), 413, "too_large"),
    "/packed": (holding(b"\x1f\x8b\x08", Content_Encoding="gzip"), 400, "hook_refused"),
    "/empty": (holding(b""), 400, "empty_document"),
    "/blank": (holding(b" \n\n "), 400, "empty_document"),
}


@pytest.mark.parametrize("path", FETCHED)
def test_a_file_that_cannot_be_fetched_is_refused(site: Site, path: str) -> None:
    handler, status, code = FETCHED[path]
    url = site.around.on(path, handler) + "?signature=secret"

    sentence = site.refused(lambda: site.fetch(url), status, code)

    assert "secret" not in sentence
    assert "in-no-message" not in sentence  # of the answer's body


def test_a_page_of_errors_with_status_200_is_a_text_like_any_other(site: Site) -> None:
    page = b"<html><body>The link has expired.</body></html>"
    url = site.around.on("/page", holding(page, Content_Type="text/html"))

    assert site.end_of(site.fetch(url)) == "COMPLETED"


def test_a_file_that_is_no_text_is_a_dead_letter(site: Site) -> None:
    url = site.around.on("/binary", holding(bytes(range(256)) * 9))

    assert site.failure(site.fetch(url)).code == "binary_content"


HOOKS: dict[str, Handler] = {
    "/hook/404": answering(404),
    "/hook/410": answering(410),
    "/hook/moved": to("/as/you/like"),
}

AWAY: dict[str, Handler] = {"/hook/500": answering(500), "/hook/never": never}


def test_webhooks_that_refuse_are_dead_letters(site: Site) -> None:
    good = {"/hook/slow": slow, "/hook/201": answering(201), "/hook/204": answering(204)}
    for path, handler in (HOOKS | good).items():
        site.around.on(path, handler)

    jobs = {path: site.deliver(TEXT, path) for path in [*HOOKS, *good]}
    found = {path: site.failure(jobs[path]) for path in HOOKS}

    assert {failure.code for failure in found.values()} == {"hook_refused"}
    assert {len(site.around.received[path]) for path in HOOKS} == {1}
    for path in good:
        assert site.end_of(jobs[path]) == "COMPLETED"
        assert "".join(site.delivered(path)).count("refund") == 1
    assert all("127.0.0.1" in failure.message for failure in found.values())


def is_refused_for_long(site: Site, path: str) -> bool:
    return len(site.around.received.get(path, [])) > MAX_ATTEMPTS


def test_webhooks_that_are_away_are_waited_for(site: Site) -> None:
    for path, handler in AWAY.items():
        site.around.on(path, handler)

    with site.in_a_hurry():
        jobs = {path: site.deliver(TEXT, path) for path in AWAY}
        for path in AWAY:
            wait_until(partial(is_refused_for_long, site, path))
            waiting = site.waiting(jobs[path])
            assert waiting.system == f"webhook://127.0.0.1 of job {jobs[path]}"
            site.around.on(path, answering(204))
        ends = {site.end_of(jobs[path]) for path in AWAY}

    assert ends == {"COMPLETED"}
    assert all("".join(site.delivered(path)).count("refund") > 0 for path in AWAY)


def test_a_webhook_whose_name_leads_inside_is_a_dead_letter(site: Site) -> None:
    answer = site.send(headers={"X-Webhook-Key": "k"}, WebhookURL="https://localhost/hook")

    failure = site.failure(answer)

    assert failure.code == "forbidden_address"
    assert "VECTORFLOW_HOOKS__ALLOW" in failure.fix


VALIDATIONS: dict[str, tuple[Handler, str]] = {
    "/check/404": (answering(404), "hook_refused"),
    "/check/page": (holding(b"<html>"), "hook_refused"),
    "/check/list": (holding(b"[]"), "hook_refused"),
    "/check/none": (holding(b'{"valid_chunks": []}'), "empty_document"),
    "/check/deep": (holding(b'{"valid_chunks":' + b"[" * 100_000), "hook_refused"),
    "/check/other": (holding(b'{"valid_chunks": [{"chunk_id": "x"}]}'), "hook_refused"),
}


def test_validations_that_are_none_are_dead_letters(site: Site) -> None:
    jobs = {
        path: site.send(f"{path} {TEXT}", ChunkValidationURL=site.around.on(path, handler))
        for path, (handler, _) in VALIDATIONS.items()
    }
    found = {path: site.failure(answer).code for path, answer in jobs.items()}

    assert found == {path: code for path, (_, code) in VALIDATIONS.items()}


def test_a_validation_that_is_away_is_waited_for(site: Site) -> None:
    url = site.around.on("/check/500", answering(500))
    with site.in_a_hurry():
        answer = site.send(f"away {TEXT}", ChunkValidationURL=url)
        wait_until(partial(is_refused_for_long, site, "/check/500"))
        assert site.waiting(answer).system == "the validation hook"
        site.around.on("/check/500", answering(404))
        failure = site.failure(answer)

    assert failure.code == "hook_refused"


def test_a_job_whose_key_is_refused_waits_and_fails_no_document(site: Site) -> None:
    given = {"EmbeddingsMetadata": OPEN_AI, "VectorDBMetadata": PAID_STORE}
    wrong = site.send("One text.", headers={"X-EmbeddingAPI-Key": "sk-canary-wrong"}, **given)
    missing = site.send("Another text.", **given)

    for answer in (wrong, missing):
        why = site.paused(answer)
        assert (why["reason"], why["stage"]) == ("key_refused", "embed")
        assert f"vectorflow jobs resume {job_of(answer)}" in str(why["fix"])
        assert "sk-canary" not in str(why)

    paid = {"X-EmbeddingAPI-Key": PROVIDER_KEY}
    again = site.send("One text.", headers=paid, **given)
    assert site.end_of(again) == "COMPLETED"  # it does not wait for the one that is paused
    assert site.end_of(wrong) == "COMPLETED"


def test_a_job_of_an_account_without_credit_waits_and_goes_on_when_it_is_resumed(
    site: Site,
) -> None:
    site.provider.faults = Faults(shares={"out_of_credit": 1.0})
    answer = site.send(
        "A text for which nobody pays.",
        headers={"X-EmbeddingAPI-Key": PROVIDER_KEY},
        EmbeddingsMetadata=OPEN_AI,
        VectorDBMetadata=PAID_STORE,
    )
    try:
        why = site.paused(answer)
    finally:
        site.provider.faults = Faults()

    assert why["reason"] == "key_refused"
    assert "credit" in f"{why['message']} {why['fix']}"
    resume = partial(transitions.resume, tenant="default", job=job_of(answer))
    site.database.write_now(resume)
    assert site.end_of(answer) == "COMPLETED"  # with the key that came with it


def test_an_index_that_is_not_there_or_of_another_length_is_refused(site: Site) -> None:
    make_collection(site.qdrant, "narrow", 8)
    names: list[tuple[dict[str, object], int, str]] = [
        ({"index_name": "nowhere"}, 404, "not_found"),
        ({"index_name": "narrow"}, 409, "dimension_mismatch"),
        ({"environment": "http://127.0.0.1:1"}, 503, "unavailable"),
        ({"environment": site.around.url("")}, 503, "unavailable"),
    ]
    for changed, status, code in names:
        store = site.qdrant_store | changed
        sentence = site.refused(partial(site.send, VectorDBMetadata=store), status, code)
        if status != 503:
            assert "64" in sentence


def test_an_index_of_pinecone_is_refused_for_its_key_its_name_and_its_length(site: Site) -> None:
    store = {"vector_db_type": "PINECONE", "index_name": "docs", "environment": "us-east-1-aws"}
    paid = {"EmbeddingsMetadata": OPEN_AI}
    cases: list[tuple[dict[str, object], dict[str, str], int, str]] = [
        ({}, {}, 400, "key_refused"),
        ({}, {"X-VectorDB-Key": "wrong-key"}, 400, "key_refused"),
        ({"VectorDBMetadata": store | {"index_name": "nowhere"}}, KEYED, 404, "not_found"),
        (paid, KEYED | {"X-EmbeddingAPI-Key": "k"}, 409, "dimension_mismatch"),
    ]
    for fields, headers, status, code in cases:
        asked = {"VectorDBMetadata": store} | fields
        send = partial(site.send, headers=headers, **asked)
        sentence = site.refused(send, status, code)
        assert "wrong-key" not in sentence


def test_a_store_that_takes_nothing_for_longer_than_all_tries_last_is_waited_for(
    site: Site,
) -> None:
    make_collection(site.qdrant, "away", 64)
    for _ in range(2 * MAX_ATTEMPTS):
        site.qdrant.fail(503, method="PUT", path="/collections/away/points")

    with site.in_a_hurry():
        store = site.qdrant_store | {"index_name": "away"}
        assert site.end_of(site.send(VectorDBMetadata=store)) == "COMPLETED"
