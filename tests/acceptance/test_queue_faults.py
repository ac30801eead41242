"""A broker between an API and a worker is emptied, filled with rubbish and killed."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.acceptance import invariants
from tests.acceptance.api_server import FORM, Server, running_server, running_worker, wait_for_end
from tests.acceptance.cli_process import vectorflow
from tests.brokers import PASSWORD, Backdoor, RabbitNode, free_port, wait_until
from vectorflow.ports.queue import ALL, packed
from vectorflow.settings import load
from vectorflow.testing.queues import GARBAGE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SOON = 10.0
"""Seconds in which a small job has ended on a busy machine, if its worker is woken."""

SWEPT = 15.0
"""Seconds in which it has ended, if its message was lost."""


@dataclass(slots=True, kw_only=True)
class Place:
    """An API and a worker on one data directory, joined by a broker."""

    server: Server
    backdoor: Backdoor
    texts: dict[str, str] = field(default_factory=dict)

    def embed(self, name: str, within: float) -> None:
        """Have a document embedded in so many seconds."""
        text = f"# {name}\n\nThe answer to the question of {name} is {len(self.texts)}.\n"
        self.texts[name] = text
        began = time.monotonic()
        with self.server.client() as client:
            given = FORM | {"DocumentID": name}
            answer = client.post("/embed", data=given, files={"SourceData": (name, text)})
            assert answer.status_code == 200, answer.text
            assert wait_for_end(client, answer.json()["JobID"]) == "COMPLETED"
        assert time.monotonic() - began < within

    def said(self, what: str) -> int:
        """How often the worker said something."""
        log = self.server.data_dir.with_name("worker.log")
        return log.read_text("utf-8").count(what)

    def wait_until_said(self, what: str, times: int = 1) -> None:
        wait_until(lambda: self.said(what) >= times, f"{what!r}, {times} times")

    def check(self) -> None:
        """Demand that exactly the documents are searchable, and that nobody wrote the password."""
        logs = [self.server.data_dir.with_name(f"{name}.log") for name in ("api", "worker")]
        assert [log for log in logs if PASSWORD in log.read_text("utf-8")] == []
        settings = load(
            {"data_dir": self.server.data_dir, "embedder": "hash:64", "chunking.size": 64},
            environ={},
        )
        invariants.check(settings, self.texts, index="docs-1")


@contextmanager
def place(folder: Path, url: str, **more: str) -> Iterator[Place]:
    """Start both; the worker polls once an hour unless its broker is away."""
    data_dir = folder / "data"
    data_dir.mkdir()
    variables = {
        "VECTORFLOW_QUEUE__URL": url,
        "VECTORFLOW_QUEUE__PREFIX": f"test-{os.getpid()}-{time.monotonic_ns()}",
        "VECTORFLOW_QUEUE__POLL_SECONDS": "3600",
        "VECTORFLOW_QUEUE__SWEEP_SECONDS": "3600",
        "VECTORFLOW_WORKER__POLL_SECONDS": "3600",
        **more,
    }
    with ExitStack() as stack:
        server = stack.enter_context(running_server(data_dir, **variables))
        stack.enter_context(running_worker(data_dir, **variables))
        made = Place(server=server, backdoor=Backdoor(url, variables["VECTORFLOW_QUEUE__PREFIX"]))
        yield made
    made.check()


def test_a_job_begins_at_once_whatever_lies_in_the_queues(
    tmp_path: Path, rabbitmq_node: RabbitNode
) -> None:
    with place(tmp_path, rabbitmq_node.url) as made:
        made.wait_until_said("queue_found")
        made.embed("first.md", SOON)
        for wakeup in ALL:
            made.backdoor.put(wakeup, *GARBAGE, json.dumps({"version": 99}).encode())
        for wakeup in reversed(ALL):
            made.backdoor.put(wakeup, *[packed(wakeup)] * 50)
        made.embed("second.md", SOON)

        wait_until(lambda: not sum(map(made.backdoor.size, ALL)), "the queues to be empty")
        assert made.said("queue_lost") == 0


def test_purged_and_deleted_queues_make_a_job_slower_and_no_more(
    tmp_path: Path, rabbitmq_node: RabbitNode
) -> None:
    sweeping = {"VECTORFLOW_QUEUE__SWEEP_SECONDS": "1", "VECTORFLOW_WORKER__POLL_SECONDS": "0.2"}
    with place(tmp_path, rabbitmq_node.url, **sweeping) as made:
        made.wait_until_said("queue_found")
        made.embed("first.md", SOON)
        for wakeup in ALL:
            made.backdoor.purge(wakeup)
        made.embed("purged.md", SWEPT)

        for wakeup in ALL:
            made.backdoor.remove(wakeup)
        made.embed("deleted.md", SWEPT)
        made.wait_until_said("queue_found", 2)
        made.embed("last.md", SOON)


def test_a_message_that_was_lost_is_sent_again(tmp_path: Path, rabbitmq_node: RabbitNode) -> None:
    """The worker stands still while its message is purged, and polls once an hour after that."""
    with place(tmp_path, rabbitmq_node.url, VECTORFLOW_QUEUE__SWEEP_SECONDS="1") as made:
        made.wait_until_said("queue_found")
        made.embed("first.md", SOON)
        worker = int((made.server.data_dir / "worker.lock").read_text().split()[0])
        os.kill(worker, signal.SIGSTOP)
        try:
            with made.server.client() as client:
                given = FORM | {"DocumentID": "lost.md"}
                files = {"SourceData": ("lost.md", "It is lost.\n")}
                job = client.post("/embed", data=given, files=files).json()["JobID"]
            for wakeup in ALL:
                made.backdoor.purge(wakeup)
        finally:
            os.kill(worker, signal.SIGCONT)
        made.texts["lost.md"] = "It is lost.\n"

        with made.server.client() as client:
            assert wait_for_end(client, job) == "COMPLETED"


def test_a_broker_that_is_killed_and_comes_back(tmp_path: Path, rabbitmq_node: RabbitNode) -> None:
    with place(tmp_path, rabbitmq_node.url, VECTORFLOW_WORKER__POLL_SECONDS="0.2") as made:
        made.wait_until_said("queue_found")
        rabbitmq_node.kill()
        made.embed("without.md", SWEPT)
        made.wait_until_said("queue_lost")
        made.embed("still-without.md", SWEPT)

        rabbitmq_node.start()
        made.wait_until_said("queue_found", 2)
        made.embed("again.md", SOON)


def test_a_broker_that_is_away_at_the_start(tmp_path: Path) -> None:
    url = f"amqp://me:{PASSWORD}@127.0.0.1:{free_port()}/"
    with place(tmp_path, url, VECTORFLOW_WORKER__POLL_SECONDS="0.2") as made:
        made.embed("without.md", SWEPT)

        assert made.said("queue_unreachable_workers_poll") == 1


def test_a_queue_that_would_never_work_is_said_at_the_start(
    tmp_path: Path, rabbitmq_node: RabbitNode
) -> None:
    good = rabbitmq_node.url
    for command, url, said in (
        ("worker", "carrier-pigeon://home", "no queues named 'carrier-pigeon'"),
        ("worker", good.replace("@", "-@"), "refuses this account"),
        ("worker", f"{good}no-such-vhost", "refuses this account"),
        ("worker", rabbitmq_node.poor_url, "refuses this account"),
        ("api", rabbitmq_node.poor_url, "refuses this account"),
    ):
        ran = vectorflow(tmp_path, command, VECTORFLOW_QUEUE__URL=url)

        assert ran.code == 1, ran.err
        assert said in ran.err
        assert "Traceback" not in ran.err
        assert PASSWORD not in ran.err


def test_the_doctor_says_which_queue_is_in_use_and_whether_it_answers(
    tmp_path: Path, rabbitmq_node: RabbitNode
) -> None:
    away = f"amqp://me:{PASSWORD}@127.0.0.1:{free_port()}/"

    there = vectorflow(tmp_path, "doctor", VECTORFLOW_QUEUE__URL=rabbitmq_node.url)
    gone = vectorflow(tmp_path, "doctor", VECTORFLOW_QUEUE__URL=away)

    assert f"amqp://owner:***@127.0.0.1:{rabbitmq_node.port}/, answers in" in there.out
    assert "does not answer" in gone.out
    assert (there.code, gone.code) == (0, 0)
    assert PASSWORD not in there.out + gone.out
