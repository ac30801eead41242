"""The API under servers of others: several processes on one data directory."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.api_server import (
    FORM,
    Server,
    running_server,
    running_worker,
    wait_for_end,
    wait_until,
    written_form,
)
from tests.scraped import scraped

CONFIG = Path(__file__).parents[2] / "deploy" / "gunicorn.conf.py"
PROGRAMS = Path(sys.executable).parent
APP = "vectorflow.asgi:app"
KEY = "the-key"
TEXT = b"The refund is paid within ten days.\n\nAsk the desk on the second floor.\n"

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A server of somebody else that serves us, and what it said so far."""

    process: "subprocess.Popen[bytes]"
    log: Path
    data_dir: Path

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8")

    @property
    def workers(self) -> list[int]:
        return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.said)]

    def server(self, key: str = KEY) -> Server:
        """Wait until every process answers."""
        wait_until(lambda: self.process.poll() is not None or self._all_answer())
        assert self.process.poll() is None, self.said
        [url] = re.findall(r"(?:Listening at:|running on) (http://\S+)", self.said)
        return Server(url=url, key=key, pid=self.process.pid, data_dir=self.data_dir)

    def _all_answer(self) -> bool:
        started = self.said.count("Application startup complete")
        return started >= max(1, len(self.workers)) and "http://" in self.said


@contextmanager
def started(data_dir: Path, *command: str, **variables: str) -> Iterator[Started]:
    log = data_dir.with_name("server.log")
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environ |= {
        "VECTORFLOW_DATA_DIR": str(data_dir),
        "VECTORFLOW_EMBEDDER": "hash:64",
        "VECTORFLOW_BLOBS__FREE_FLOOR_BYTES": "0",
    }
    program, *options = command
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAMS / program, *options],
            env=environ | variables,
            cwd=data_dir.parent,
            stdout=output,
            stderr=output,
        )
    try:
        yield Started(process=process, log=log, data_dir=data_dir)
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def gunicorn(processes: int = 2) -> list[str]:
    command = ["gunicorn", "--config", str(CONFIG), "--bind", "127.0.0.1:0"]
    return [*command, "--workers", str(processes), APP]


def upload(server: Server, number: int) -> int:
    with server.client() as client:
        file = {"SourceData": (f"page{number}.txt", f"Page {number}. ".encode() + TEXT)}
        answer = client.post("/embed", data=FORM, files=file)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["JobID"])


def test_what_two_processes_take_side_by_side_is_all_embedded(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with (
        started(data_dir, *gunicorn(), INTERNAL_API_KEY=KEY) as running,
        running_worker(data_dir),
        ThreadPoolExecutor(8) as clients,
    ):
        server = running.server()
        jobs = list(clients.map(lambda number: upload(server, number), range(20)))
        with server.client() as client:
            ends = [wait_for_end(client, job) for job in jobs]

    assert len(set(jobs)) == 20
    assert ends == ["COMPLETED"] * 20
    assert len(running.workers) == 2
    assert running.process.returncode == 0


def test_an_upload_under_way_is_finished_before_the_server_stops(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    body = written_form("rules.txt", TEXT)
    with started(data_dir, *gunicorn(), INTERNAL_API_KEY=KEY) as running:
        server = running.server()
        with server.connect() as connection:
            connection.sendall(server.head("/embed", len(body), VectorFlowKey=KEY) + body[:200])
            time.sleep(0.5)  # until it is read
            running.process.terminate()
            wait_until(lambda: "Shutting down" in running.said)
            connection.sendall(body[200:])
            answer = connection.recv(65536)
        code = running.process.wait(30)

    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert code == 0
    with (
        running_server(data_dir, INTERNAL_API_KEY=KEY) as server,
        running_worker(data_dir),
        server.client() as client,
    ):
        assert wait_for_end(client, 1) == "COMPLETED"


def test_a_process_that_is_killed_leaves_the_others_answering_and_is_replaced(
    tmp_path: Path,
) -> None:
    data_dir = tmp_path / "data"
    with (
        started(data_dir, *gunicorn(), INTERNAL_API_KEY=KEY) as running,
        running_worker(data_dir),
    ):
        server = running.server()
        first, _ = running.workers

        os.kill(first, signal.SIGKILL)
        jobs = [upload(server, number) for number in range(5)]
        wait_until(lambda: len(running.workers) == 3)
        running.server()
        jobs += [upload(server, number) for number in range(5, 10)]

    assert jobs == list(range(1, 11))


def test_metrics_tell_the_same_whichever_process_answers(tmp_path: Path) -> None:
    """The queue of each process is in its memory: what is counted is that it sends."""
    data_dir, queue = tmp_path / "data", {"VECTORFLOW_QUEUE__URL": "memory://metrics"}
    sent = "vectorflow_queue_messages_sent_total"
    with started(data_dir, *gunicorn(), INTERNAL_API_KEY=KEY, **queue) as running:
        server = running.server()
        with ThreadPoolExecutor(8) as clients:
            list(clients.map(lambda number: upload(server, number), range(20)))
        wait_until(lambda: _settled(server, sent))
        before = _told(server)
        os.kill(running.workers[0], signal.SIGKILL)
        wait_until(lambda: len(running.workers) == 3)
        running.server()
        after = _told(server)

    assert {figures[sent] for figures in before + after} == {before[0][sent]}
    assert before[0][sent] >= 2
    assert {figures["vectorflow_ledger_up"] for figures in before + after} == {1}


def _settled(server: Server, name: str) -> bool:
    first = _told(server, times=1)[0][name]
    time.sleep(0.5)  # wake-ups are sent a tenth of a second apart
    return 0 < first == _told(server, times=1)[0][name]


def _told(server: Server, times: int = 20) -> list[dict[str, float]]:
    """Ask so often, each time by a new connection, that each process has answered."""
    answers = []
    for _ in range(times):
        with server.client() as client:
            answers.append(client.get("/metrics"))
    assert {answer.status_code for answer in answers} == {200}
    return [scraped(answer.text) for answer in answers]


def test_a_process_that_cannot_know_what_others_count_tells_the_ledger_alone(
    tmp_path: Path,
) -> None:
    with started(tmp_path / "data", *UVICORN, INTERNAL_API_KEY=KEY) as running:
        found = _told(running.server(), times=1)[0]

    assert found["vectorflow_ledger_up"] == 1
    assert [name for name in found if "_total" in name] == []


UVICORN = ["uvicorn", APP, "--port", "0"]


@pytest.mark.parametrize(
    ("command", "variables", "sentence"),
    [
        (gunicorn(), {}, "there is no key that could let anybody in; set INTERNAL_API_KEY"),
        (gunicorn(), {"VECTORFLOW_API__PROT": "1"}, "did you mean VECTORFLOW_API__PORT"),
        (gunicorn(), {"VECTORFLOW_EMBEDDER": "none:model"}, "named 'none'"),
        (UVICORN, {"VECTORFLOW_DATA_DIR": "/proc/none"}, "the folder /proc/none cannot be used"),
    ],
)
def test_a_mistake_ends_the_server_with_a_sentence(
    tmp_path: Path, command: list[str], variables: dict[str, str], sentence: str
) -> None:
    keys = {"INTERNAL_API_KEY": KEY} if variables else {}
    with started(tmp_path / "data", *command, **variables, **keys) as running:
        code = running.process.wait(60)

    assert code > 0
    assert sentence in running.said
    assert "/vectorflow/" not in running.said  # no traceback of ours
    assert len(running.workers) <= 3  # and not again and again


def test_a_key_that_was_issued_is_enough(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running_server(data_dir) as alone:
        key = alone.key

    with started(data_dir, *gunicorn(1)) as running, running.server(key).client() as client:
        answer = client.get("/jobs/1/status")

    assert answer.status_code == 404


@pytest.mark.parametrize("command", [gunicorn(1), UVICORN])
def test_readiness_ends_first_where_somebody_asks_for_it(
    tmp_path: Path, command: list[str]
) -> None:
    with started(tmp_path / "data", *command, INTERNAL_API_KEY=KEY) as running:
        server = running.server()

        answers = _stop_and_ask(server)
        code = running.process.wait(30)

    assert answers == [200, 503, 404]
    assert code in {0, -signal.SIGTERM}  # uvicorn dies of the signal after all is closed


def test_readiness_of_our_own_server_ends_first(tmp_path: Path) -> None:
    with running_server(tmp_path / "data", INTERNAL_API_KEY=KEY) as server:
        answers = _stop_and_ask(server)
        wait_until(lambda: not _listens(server))

    assert answers == [200, 503, 404]


def _stop_and_ask(server: Server) -> list[int]:
    """Statuses of `/readyz` before and after the signal, and of a request after it."""
    with server.client() as client:
        before = client.get("/readyz").status_code
        os.kill(server.pid, signal.SIGTERM)
        time.sleep(0.5)
    with server.client() as client:  # a new connection
        after = client.get("/readyz").status_code
        return [before, after, client.get("/jobs/1/status").status_code]


def _listens(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return False
    return True
