"""What earlier versions did wrong, by number: the test that fails where it comes back, or why none.

The numbers are those of a review of the last public version before this one.
"""

import ast
import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from aiohttp import web

import vectorflow as vf
from tests.acceptance.api_server import running_worker, wait_until
from tests.acceptance.v0_site import (
    OPEN_AI,
    OWN_STORE,
    PROVIDER_KEY,
    TEXT,
    Site,
    job_of,
    make_collection,
    points,
    v0_site,
)
from vectorflow.testing.canary import find_canaries
from vectorflow.testing.ledgers import broken_laws, rows
from vectorflow.testing.provider import Faults

ROOT = Path(__file__).parents[2]
HERE = "acceptance/test_v0_defects.py"
SERVICES = "acceptance/test_bad_services.py"
TEXTS = "acceptance/test_v0_texts.py"
INPUT = "acceptance/test_bad_input.py"
EMBED = "unit/api/test_embed.py"
AUTH = "unit/api/test_auth.py"
CHUNKERS = "unit/adapters/test_v0_chunkers.py"

CANNOT_BE_MET = f"{EMBED}::test_a_form_that_cannot_be_met_is_400_and_nothing_of_it_is_kept"
THROTTLED = f"{HERE}::test_a_provider_that_throttles_is_waited_for_and_delays_nobody_else"
BACKLOG = f"{HERE}::test_a_second_worker_takes_of_the_backlog_and_nothing_is_done_twice"
DEAD_HOOKS = f"{SERVICES}::test_webhooks_that_refuse_are_dead_letters"
HOOKS_AWAY = f"{SERVICES}::test_webhooks_that_are_away_are_waited_for"
APART_FROM_OTHERS = f"{TEXTS}::test_files_of_one_name_that_come_at_once_stay_apart"
NOT_FETCHED = f"{SERVICES}::test_a_file_that_cannot_be_fetched_is_refused"
SEAMS, KILLED = "acceptance/test_kill_seams.py", "acceptance/test_kill_answers.py"
COSTS, CLI = "integration/ledger/test_costs.py", "acceptance/test_cli_embed.py"
REQUESTS = "unit/worker/test_text_requests.py"

TESTED: Mapping[str, tuple[str, ...]] = {
    "D01": (THROTTLED,),
    "D01b": (
        THROTTLED,
        f"{REQUESTS}::test_after_being_throttled_nobody_asks_before_the_time_is_over",
    ),
    "D02": (f"{HERE}::test_a_store_that_fails_once_gets_its_records_all_the_same",),
    "D03": (BACKLOG,),
    "D05": (BACKLOG,),
    "D06": (f"{HERE}::test_no_job_uses_the_key_of_another",),
    "D07": (
        f"{TEXTS}::test_a_text_arrives_with_its_line_breaks",
        f"{CHUNKERS}::test_every_v0_strategy_is_a_plugin_that_keeps_line_breaks",
    ),
    "D08": (
        f"{TEXTS}::test_paragraphs_are_cut_at_blank_lines",
        f"{CHUNKERS}::test_paragraphs_end_at_blank_lines_and_nowhere_else",
    ),
    "D09": (f"{TEXTS}::test_a_hundred_lines_at_ten_a_batch_are_ten_batches",),
    "D10": (f"{INPUT}::test_a_file_name_reaches_no_other_file",),
    "D11": (APART_FROM_OTHERS,),
    "D12": (f"{TEXTS}::test_a_file_is_fetched_and_embedded",),
    "D13": (
        f"{AUTH}::test_the_key_comes_before_the_body_is_read",
        f"{INPUT}::test_a_key_that_is_none_is_401_whatever_is_asked",
    ),
    "D13b": (CANNOT_BE_MET,),
    "D13c": (f"{EMBED}::test_names_are_taken_in_any_case",),
    "D13d": (CANNOT_BE_MET,),
    "D13e": (CANNOT_BE_MET,),
    "D14": (CANNOT_BE_MET,),
    "D16": (f"{TEXTS}::test_a_text_in_latin_1_arrives_as_it_was_meant",),
    "D18": (f"{EMBED}::test_an_empty_document_is_refused_at_the_door",),
    "D19": (DEAD_HOOKS, HOOKS_AWAY),
    "D21": (
        f"{INPUT}::test_a_question_about_jobs_that_is_none_is_refused",
        f"{INPUT}::test_every_other_method_is_405",
        "unit/api/test_errors.py::test_what_is_not_there_answers_in_json",
    ),
    "D22": (f"{TEXTS}::test_the_same_document_twice_is_stored_once",),
    "D24": (f"{TEXTS}::test_no_character_is_broken_on_the_way",),
    "D31": (
        BACKLOG,
        "integration/ledger/test_storm.py::test_whatever_many_threads_do_the_ledger_stays_in_order",
    ),
    "D32": (f"{HERE}::test_credentials_are_kept_nowhere_in_the_clear",),
    "D33": (f"{HERE}::test_a_receiver_that_never_takes_a_batch_delays_nobody",),
    "D34": ("acceptance/test_api_uploads.py::test_an_upload_does_not_pass_through_memory",),
    "D36": (
        f"{SERVICES}::test_an_index_that_is_not_there_or_of_another_length_is_refused",
        f"{SERVICES}::test_a_store_that_takes_nothing_for_longer_than_all_tries_last_is_waited_for",
    ),
    "D37": (f"{KILLED}::test_a_request_that_got_no_answer_can_be_sent_again",),
    "D38": (f"{HERE}::test_a_fault_of_ours_ends_in_a_dead_letter",),
    "D39": (f"{SEAMS}::test_a_first_embed_killed_anywhere_ends_complete",),
    "D40": (CANNOT_BE_MET,),
    "D41": (f"{INPUT}::test_a_model_that_reads_less_says_how_much",),
    "D45": (f"{TEXTS}::test_metadata_and_id_stand_beside_every_record",),
    "D46": (APART_FROM_OTHERS,),
    "D47": (f"{AUTH}::test_issued_keys_see_their_tenant_only",),
    "D48": (
        f"{INPUT}::test_an_address_that_may_not_be_called_is_refused_and_not_told",
        f"{INPUT}::test_a_name_that_leads_inside_is_not_fetched_from",
        f"{INPUT}::test_a_store_inside_is_not_called",
        f"{SERVICES}::test_a_webhook_whose_name_leads_inside_is_a_dead_letter",
        NOT_FETCHED,
    ),
    "D49": (
        f"{AUTH}::test_a_key_is_taken_in_every_form",
        "acceptance/test_cli_keys.py::test_keys_are_made_listed_rotated_and_revoked",
    ),
    "D53": (NOT_FETCHED,),
    "D54": (
        DEAD_HOOKS,
        f"{CLI}::test_a_document_that_fails_makes_the_job_partial_and_alone_failed",
    ),
    "D55": ("unit/api/test_health.py::test_probes_need_no_key_and_take_every_usual_method",),
    "D56": (
        "integration/test_openai_embedder.py::test_many_requests_are_under_way_at_once",
        f"{REQUESTS}::test_texts_of_many_batches_share_requests_sorted_by_length",
    ),
    "D57": (
        f"{REQUESTS}::test_a_request_that_is_too_large_for_the_provider_is_halved",
        "unit/domain/test_packing.py::test_a_request_stays_within_its_limits_padding_included",
    ),
    "D58": (f"{HERE}::test_one_batch_of_five_megabytes_does_not_fill_the_memory",),
    "D59": (f"{COSTS}::test_a_group_of_documents_costs_hardly_more_statements_than_one",),
}

APART: Mapping[str, str] = {
    "D04": "there is no broker: work waits in the ledger, whose commits are durable",
    "D20": "there is no broker to connect to; the ledger's connections are pooled",
    "D43": "no extractor reads HTML yet; it is embedded as the text it is, lines kept",
    "D50": "deliveries have an id to drop repeats by, and no signature yet",
    "D51": "there is no telemetry in the product",
    "D52": "no dependency is under the AGPL; the locked lists show all of them",
}

NUMBERS = (1, 2, *range(3, 15), 16, *range(18, 23), 24, *range(31, 35), *range(36, 42), 43)
LATER = range(45, 60)


@cache
def defined_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))


def test_every_defect_has_a_test_or_a_reason() -> None:
    numbers = {f"D{number:02}" for number in (*NUMBERS, *LATER)} | {"D01b", "D13b", "D13c", "D13d"}

    assert set(TESTED) | set(APART) == numbers | {"D13e"}
    assert not set(TESTED) & set(APART)
    for node in {node for nodes in TESTED.values() for node in nodes}:
        path, _, name = node.partition("::")
        assert name in defined_in(ROOT / "tests" / path), f"there is no {node}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with v0_site(tmp_path_factory.mktemp("defects")) as running:
        yield running


PAID = {
    "EmbeddingsMetadata": OPEN_AI,
    "VectorDBMetadata": OWN_STORE | {"index_name": "paid"},
}
KEYED = {"X-EmbeddingAPI-Key": PROVIDER_KEY}


def test_a_provider_that_throttles_is_waited_for_and_delays_nobody_else(site: Site) -> None:
    refused = site.provider.stats.by_status[429]
    site.provider.faults = Faults(shares={"throttled": 1.0}, retry_after=0.2)
    try:
        throttled = site.send("A text that waits for its turn.", headers=KEYED, **PAID)
        wait_until(lambda: site.provider.stats.by_status[429] >= refused + 1)
        assert site.end_of(site.send("A bystander on the local model.")) == "COMPLETED"
        wait_until(lambda: site.provider.stats.by_status[429] >= refused + 5)
    finally:
        site.provider.faults = Faults()

    assert site.end_of(throttled) == "COMPLETED"


def test_a_store_that_fails_once_gets_its_records_all_the_same(site: Site) -> None:
    make_collection(site.qdrant, "shaky", 64)
    site.qdrant.fail(503, method="PUT", path="/collections/shaky/points")

    store = site.qdrant_store | {"index_name": "shaky"}
    job = job_of(site.send(VectorDBMetadata=store))

    assert site.end_of(job) == "COMPLETED"
    assert len(points(site.qdrant, "shaky")) == 1


def test_no_job_uses_the_key_of_another(site: Site) -> None:
    mine = site.send("A text that its sender pays for.", headers=KEYED, **PAID)
    assert site.end_of(mine) == "COMPLETED"
    paid = site.provider.stats.texts

    theirs = site.send("A text that nobody pays for.", **PAID)

    assert site.paused(theirs)["reason"] == "key_refused"
    assert site.provider.stats.texts == paid


def test_credentials_are_kept_nowhere_in_the_clear(site: Site) -> None:
    """Looked for while the job waits, and again after its end."""
    canaries = {name: f"canary-{name}-7f3a91c2" for name in ("provider", "store", "hook", "url")}
    gate = threading.Event()

    async def closed(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=200 if gate.is_set() else 503)

    url = site.around.on("/canary", closed)
    answer = site.send(
        headers={
            "X-EmbeddingAPI-Key": canaries["provider"],
            "X-VectorDB-Key": canaries["store"],
            "X-Webhook-Key": canaries["hook"],
        },
        WebhookURL=f"{url}?signature={canaries['url']}",
        ChunkValidationURL="",
    )
    wait_until(lambda: bool(site.around.received.get("/canary")))
    found = [canaries_at(site, list(canaries.values()), answer.text)]
    gate.set()
    with site.in_a_hurry():
        assert site.end_of(answer) == "COMPLETED"
    found.append(canaries_at(site, list(canaries.values()), answer.text))

    assert found == [[], []]


def canaries_at(site: Site, canaries: list[str], *answers: str) -> list[object]:
    data_dir = site.server.data_dir
    logs = {log.name: log.read_bytes() for log in data_dir.parent.glob("*.log")}
    assert {"api.log", "worker.log"} <= set(logs)
    texts = logs | {f"answer {number}": text for number, text in enumerate(answers)}
    return list(find_canaries(canaries, database=site.database, data_dir=data_dir, texts=texts))


def test_a_receiver_that_never_takes_a_batch_delays_nobody(site: Site) -> None:
    gate = threading.Event()

    async def waits(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=200 if gate.is_set() else 503)

    site.around.on("/waits", waits)
    lines = "".join(f"This is line {number}.\n" for number in range(80))
    stuck = site.deliver(lines, "/waits", LinesPerBatch="1")
    wait_until(lambda: bool(site.around.received.get("/waits")))

    assert site.end_of(site.send("A bystander with a store.")) == "COMPLETED"
    assert site.client.get(f"/jobs/{stuck}/status").json() == {"JobStatus": "IN_PROGRESS"}
    gate.set()
    with site.in_a_hurry():
        assert site.end_of(stuck) == "COMPLETED"


def test_a_fault_of_ours_ends_in_a_dead_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_given: object) -> None:
        raise RuntimeError("what nobody foresaw")

    monkeypatch.setattr("vectorflow.worker.loop.embed_and_store", broken)
    monkeypatch.setattr("vectorflow.domain.retries.BASE_DELAY", 0.001)
    with vf.open(data_dir=tmp_path / "data", embedder="hash:8") as flow:
        report = flow.embed([{"id": "a", "text": TEXT}])
        [failure] = flow.failures()

    assert report.failed == 1
    assert "unexpected RuntimeError" in failure.message


def test_a_second_worker_takes_of_the_backlog_and_nothing_is_done_twice(
    tmp_path: Path, postgres_ledger: str
) -> None:
    gate = threading.Event()

    async def waits(_request: web.Request) -> web.StreamResponse:
        while not gate.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.02)
        return web.Response(status=204)

    variables = {
        "VECTORFLOW_DATABASE__URL": postgres_ledger,
        "VECTORFLOW_HOOKS__TIMEOUT": "60",
        "VECTORFLOW_WORKER__BATCHES": "4",
    }
    with v0_site(tmp_path, **variables) as site:
        site.around.on("/backlog", waits)
        text = "".join(f"This is line {number}.\n" for number in range(200))
        job = site.deliver(text, "/backlog", LinesPerBatch="1")
        wait_until(lambda: len(site.around.received.get("/backlog", [])) == 4)
        with running_worker(site.server.data_dir, **site.variables):
            wait_until(lambda: len(site.around.received["/backlog"]) == 8)
            gate.set()
            assert site.end_of(job) == "COMPLETED"
        done = rows(site.database, "SELECT DISTINCT owner FROM attempts")
        broken = broken_laws(site.database, all_done=True)

    assert len(done) == 2
    assert not broken
    assert sorted(site.delivered("/backlog")) == sorted(text.splitlines())


PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Starts a command and tells its peak; Linux counts the memory of whoever starts a process too."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the memory as Linux counts")
def test_one_batch_of_five_megabytes_does_not_fill_the_memory(tmp_path: Path) -> None:
    """A text of 1536 numbers a chunk took over a gigabyte once."""
    book = tmp_path / "book.txt"
    book.write_text(" ".join(f"word{number}" for number in range(500_000)), "utf-8")
    options = ["--embedder", "hash:1536", "--data-dir", str(tmp_path / "data")]
    command = [sys.executable, "-m", "vectorflow.cli", "embed", str(book), *options]

    measured = subprocess.run(
        [sys.executable, "-c", PEAK, *command], stdout=subprocess.PIPE, check=True
    )

    assert book.stat().st_size > 5_000_000
    assert int(measured.stdout.split()[-1]) < 600_000
