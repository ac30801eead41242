"""Keys of the v0 API: each is used where it was meant for, and told and kept nowhere.

All keys here are canaries; the last test looks for them in all that was written and said.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from tests.acceptance.api_server import page_of_worker, running_server, wait_until
from tests.acceptance.v0_calls import (
    LOCAL,
    OPEN_AI,
    OWN_STORE,
    Site,
    job_of,
    running_site,
)
from vectorflow.ledger.database import Database
from vectorflow.ledger.tables import credentials
from vectorflow.testing.canary import find_canaries

pytestmark = pytest.mark.slow

INTERNAL = "canary-internal-4f1c9a77"
OURS, THEIRS, KEPT = "sk-canary-ours-91d2", "sk-canary-theirs-7be3", "sk-canary-kept-55a0"
"""Keys that the provider takes."""
WRONG = "sk-canary-wrong-08c4"
QDRANT = "canary-qdrant-3ee6d1"
HOOK_KEY = "canary-webhook-key-b7f0"
HOOK_QUERY, FILE_QUERY, CHECK_QUERY = "canary-hook-2c58", "canary-signed-9a3e", "canary-check-6d17"
KEYS = (INTERNAL, OURS, THEIRS, KEPT, WRONG, QDRANT, HOOK_KEY)
KEYS += (HOOK_QUERY, FILE_QUERY, CHECK_QUERY)
MARK = "canary-of-a-document-e8b4"

PAID = {"EmbeddingsMetadata": OPEN_AI, "VectorDBMetadata": OWN_STORE | {"index_name": "paid"}}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(
        tmp_path_factory.mktemp("v0") / "data",
        key=INTERNAL,
        qdrant_key=QDRANT,
        provider_keys=(OURS, THEIRS, KEPT),
        VECTORFLOW_METRICS__PORT="0",
    ) as running:
        yield running


def paid_by(key: str) -> dict[str, str]:
    return {"X-EmbeddingAPI-Key": key}


def keys_seen(site: Site) -> list[str]:
    seen = site.outside.stats()["keys"]
    assert isinstance(seen, list)
    return seen


def digest(key: str) -> str:
    """A key, as the provider tells of it."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def test_a_key_pays_for_the_jobs_it_came_with_and_for_no_other(site: Site) -> None:
    """Turn about, so that jobs with a key and jobs without one are under way together."""
    jobs = [
        job_of(site.embed(f"Text {number}.", headers=paid_by(key), **PAID))
        for number, key in enumerate([OURS, "", THEIRS, ""] * 3)
    ]

    assert [site.end(job) for job in jobs[::2]] == ["COMPLETED"] * 6
    assert {digest(OURS), digest(THEIRS)} <= set(keys_seen(site))
    assert {site.paused(job)["reason"] for job in jobs[1::2]} == {"key_refused"}


def test_a_job_with_a_wrong_key_waits_and_the_command_line_says_why(site: Site) -> None:
    job = job_of(site.embed("Unpaid text.", headers=paid_by(WRONG), **PAID))

    site.paused(job)
    ran = site.command("jobs", "show", str(job), "--json")
    why = json.loads(ran.out)["job"]["paused"]
    assert (why["reason"], why["stage"]) == ("key_refused", "embed")
    assert f"vectorflow jobs resume {job}" in why["fix"]
    assert WRONG not in ran.out + ran.err


def test_a_key_of_a_store_that_is_missing_or_wrong_is_refused_at_the_door(site: Site) -> None:
    store = {
        "vector_db_type": "QDRANT",
        "index_name": "not-ours",
        "environment": site.outside.qdrant,
    }

    answers = [
        site.embed("Text.", headers=headers, VectorDBMetadata=store)
        for headers in ({}, {"X-VectorDB-Key": WRONG})
    ]

    for answer in answers:
        assert answer.status_code == 400, answer.text
        assert "key" in answer.json()["error"]
        assert WRONG not in answer.text


def test_what_came_with_a_request_is_gone_once_its_job_has_ended(site: Site) -> None:
    kept = select(credentials.c.job_id)

    good = site.embed("A paid text.", headers=paid_by(OURS), **PAID)
    bad = job_of(site.embed("A refused text.", headers=paid_by(WRONG), **PAID))

    assert site.end(good) == "COMPLETED"
    site.paused(bad)
    ids = site.read(lambda ledger: set(ledger.execute(kept).scalars()))
    assert job_of(good) not in ids
    assert bad in ids
    assert site.command("jobs", "cancel", str(bad)).code == 0
    assert site.status(bad) == "CANCELLED"
    wait_until(lambda: bad not in site.read(lambda ledger: set(ledger.execute(kept).scalars())))


def test_a_secret_of_the_tenant_pays_where_a_request_brings_no_key(site: Site) -> None:
    kept = site.command("secrets", "set", "openai", stdin=KEPT)
    try:
        without = site.embed("Text paid by what is kept.", **PAID)
        status = site.end(without)
    finally:
        forgotten = site.command("secrets", "delete", "openai")

    assert status == "COMPLETED"
    assert digest(KEPT) in keys_seen(site)
    assert (kept.code, forgotten.code) == (0, 0)
    assert KEPT not in kept.out + kept.err


def test_while_the_key_of_the_server_is_changed_both_let_in(tmp_path: Path) -> None:
    """Its provider is not on this machine: a job that would need a key is refused at the door."""
    variables = {"INTERNAL_API_KEY": "new-key,old-key"}
    form = {name: json.dumps(value) for name, value in PAID.items()}
    with running_server(tmp_path / "data", **variables) as server:
        statuses = {
            key: httpx.get(f"{server.url}/jobs/1/status", headers={"VectorFlowKey": key})
            for key in ("new-key", "old-key", "new-key,old-key", "other")
        }
        unpaid = httpx.post(
            f"{server.url}/embed",
            headers={"VectorFlowKey": "new-key"},
            data=form,
            files={"SourceData": ("a.txt", b"Some text.")},
        )

    assert [answer.status_code for answer in statuses.values()] == [404, 404, 401, 401]
    assert unpaid.status_code == 400
    assert "X-EmbeddingAPI-Key" in unpaid.json()["error"]


def test_no_key_is_kept_or_told_and_no_text_is_logged(site: Site) -> None:
    said = everything_said(site)
    logs = {path.name: path.read_bytes() for path in site.server.data_dir.parent.glob("*.log")}
    assert {"api.log", "worker.log"} <= set(logs)
    assert all(logs.values())

    database = Database(f"sqlite:///{site.server.data_dir / 'ledger.db'}")
    try:
        look = partial(find_canaries, database=database, texts=said | logs)
        assert look(KEYS, data_dir=site.server.data_dir) == []
        assert look([MARK], data_dir=None) == []
    finally:
        database.close()
    stuck = find_canaries([MARK], database=None, data_dir=site.server.data_dir, texts={})
    places = {"/".join(found.place.split("/")[:2]) for found in stuck}
    assert "file blobs/uploads" in places
    assert places <= {
        "file blobs/uploads",
        "file blobs/manifests",
        "file vectors/docs.lance",
        "table docs.lance",
    }


def everything_said(site: Site) -> Mapping[str, str]:
    """Make jobs that go well and go wrong in every way, with all keys, and give what was said."""
    receiver, document = site.receiver, f"A text with a {MARK} in it."
    hook, refusing = receiver.spot("/hook"), receiver.spot("/refusing", 400)
    breaking, gone = receiver.spot("/breaking", 500, 200), receiver.spot("/gone/rules.txt", 403)
    file = receiver.spot("/bucket/rules.txt", f"{document} From afar.".encode())
    checking = receiver.spot(
        "/checking", say=lambda request: {"valid_chunks": request.json["chunks"]}
    )
    nagging = receiver.spot("/nagging", say=lambda _: {"valid_chunks": [{"text": MARK}]})
    site.make_collection("canaries", key=QDRANT)
    qdrant = {
        "vector_db_type": "QDRANT",
        "index_name": "canaries",
        "environment": site.outside.qdrant,
    }
    headers = paid_by(OURS) | {"X-VectorDB-Key": QDRANT, "X-Webhook-Key": HOOK_KEY}
    send = partial(site.embed, document, headers=headers, EmbeddingsMetadata=OPEN_AI)
    delivered = partial(send, VectorDBMetadata=OWN_STORE)
    query = f"?token={HOOK_QUERY}"
    check = f"?token={CHECK_QUERY}"
    fetched = partial(fetch, site)

    answers = {
        "stored": send(VectorDBMetadata=qdrant, ChunkValidationURL=checking.url + check),
        "own": site.embed(document),
        "delivered": delivered(WebhookURL=hook.url + query),
        "repeated": delivered(WebhookURL=breaking.url + query),
        "refused": delivered(WebhookURL=refusing.url + query),
        "nagged": delivered(WebhookURL=hook.url, ChunkValidationURL=nagging.url + check),
        "forbidden": delivered(WebhookURL=f"https://169.254.169.254/hook{query}"),
        "unpaid": site.embed(f"{document} Unpaid.", headers=paid_by(WRONG), **PAID),
        "keyless": site.embed(document, headers={"X-VectorDB-Key": WRONG}, VectorDBMetadata=qdrant),
        "fetched": fetched(f"{file.url}?signature={FILE_QUERY}"),
        "expired": fetched(f"{gone.url}?signature={FILE_QUERY}"),
        "malformed": site.embed(document, EmbeddingsMetadata=f"{{{MARK}"),
        "stranger": site.embed(document, headers={"Authorization": WRONG}),
        "binary": site.embed(f"\x00\x01{document}".encode() + b"\xff", "scan.pdf"),
    }

    site.paused(job_of(answers["unpaid"]))
    jobs = {name: answer for name, answer in answers.items() if answer.status_code == 200}
    del jobs["unpaid"]
    ends = {name: site.end(answer) for name, answer in jobs.items()}
    assert {name for name, end in ends.items() if end == "COMPLETED"} == {
        "stored", "own", "delivered", "repeated", "fetched",
    }  # fmt: skip
    assert {name for name, end in ends.items() if end == "FAILED"} == {
        "refused", "nagged", "binary",
    }  # fmt: skip
    assert [MARK in str(chunk["text"]) for chunk in hook.chunks] == [True]
    assert [MARK in point.text for point in site.points("canaries", QDRANT)] == [True]
    said = {f"answer {name}": f"{answer.headers} {answer.text}" for name, answer in answers.items()}
    said["metrics"] = site.client.get("/metrics").text
    said["metrics of the worker"] = page_of_worker(site.server.data_dir)
    for command in (["failures", "--json"], ["jobs", "list", "--json"], ["config", "show"]):
        ran = site.command(*command)
        assert ran.code == 0, ran.err
        said[f"vectorflow {command[0]}"] = ran.out + ran.err
    return said


def fetch(site: Site, url: str) -> httpx.Response:
    fields = {
        "EmbeddingsMetadata": json.dumps(LOCAL),
        "VectorDBMetadata": json.dumps(OWN_STORE),
        "PreSignedURL": url,
    }
    return site.client.post("/s3", files={name: (None, value) for name, value in fields.items()})
