"""The API as a process of its own, spoken to over the network."""

import json
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import vectorflow as vf
from tests.acceptance.api_server import (
    FORM,
    Server,
    running_server,
    running_worker,
    wait_for_end,
    wait_until,
    written_form,
)

TEXT = b"The refund is paid within ten days.\n\nAsk the desk on the second floor.\n"
KEY = "test123"
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data_dir = tmp_path_factory.mktemp("api") / "data"
    with running_server(data_dir, INTERNAL_API_KEY=KEY) as running, running_worker(data_dir):
        yield running


def read_answer(connection: socket.socket) -> tuple[int, dict[str, object]]:
    """Read one answer of known length; the server may go on taking the request."""
    received = b""
    while b"\r\n\r\n" not in received:
        block = connection.recv(65536)
        assert block, "the connection was closed without an answer"
        received += block
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
    assert "content-type: application/json" in lines
    while len(body) < length:
        body += connection.recv(65536)
    return int(lines[0].split()[1]), json.loads(body[:length])


def test_a_file_sent_as_older_clients_do_becomes_searchable(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running_server(data_dir) as server, running_worker(data_dir), server.client() as client:
        answer = client.post(
            f"{server.url}//embed",
            content=written_form("rules.txt", TEXT),
            headers={"content-type": "multipart/form-data; boundary=edge"},
        )
        assert answer.status_code == 200, answer.text
        job = answer.json()["JobID"]
        status = wait_for_end(client, job)
        several = client.post("/jobs/status", json={"JobIDs": [job]})

    assert answer.json()["message"] == "Successfully added 1 batches to the queue"
    assert status == "COMPLETED"
    assert several.json() == {"Jobs": [{"JobID": job, "JobStatus": "COMPLETED"}]}
    with vf.open(data_dir=data_dir, embedder="hash:64") as flow:
        [hit] = flow.search("refund", index="docs-1", k=1)
    assert hit.document.uri == "rules.txt"
    assert "refund" in hit.text


def test_every_refusal_is_a_json_object_that_older_clients_can_read(server: Server) -> None:
    """They read `error` of whatever is not 2xx, and break where the body is no JSON object."""
    with server.client() as client, server.client(Authorization="wrong") as stranger:
        file = {"SourceData": ("a.txt", TEXT)}
        answers = {
            401: stranger.post("/embed", data=FORM, files=file),
            404: client.get("/no/such/route"),
            405: client.put("/jobs/1/status"),
            400: client.post("/embed", data=FORM | {"LinesPerBatch": "abc"}, files=file),
            413: client.post("/embed", data=FORM, files={"SourceData": ("a", b"a" * 26 * MIB)}),
            415: client.post("/jobs/status", content=b"{}"),
        }
        unknown = client.get("/jobs/123456/status")

    for status, answer in [*answers.items(), (404, unknown)]:
        assert answer.status_code == status
        assert isinstance(answer.json(), dict)
        assert len(answer.json()["error"]) > 20


def test_a_client_that_sends_all_before_it_reads_still_gets_its_refusal(server: Server) -> None:
    body = written_form("big.txt", b"a" * 40 * MIB)

    for key, expected in ((KEY, 413), ("wrong", 401)):
        with server.connect() as connection:
            connection.sendall(server.head("/embed", len(body), VectorFlowKey=key) + body)
            status, answer = read_answer(connection)
        assert status == expected
        assert answer["error"]


def test_refusals_come_before_the_body_has_arrived(server: Server) -> None:
    for key, length, expected in ((KEY, 1 << 40, 413), ("wrong", 1000, 401)):
        with server.connect() as connection:
            connection.sendall(server.head("/embed", length, VectorFlowKey=key))
            status, _ = read_answer(connection)
        assert status == expected


def test_a_client_that_asks_before_it_sends_is_told_not_to(server: Server) -> None:
    headers = {"VectorFlowKey": "wrong", "Expect": "100-continue"}
    with server.connect() as connection:
        connection.sendall(server.head("/embed", 1000, **headers))
        status, _ = read_answer(connection)

    assert status == 401


def test_slow_clients_hold_up_nobody(server: Server) -> None:
    body = written_form("slow.txt", TEXT)
    slow = [server.connect() for _ in range(30)]
    for connection in slow:
        connection.sendall(server.head("/embed", len(body), VectorFlowKey=KEY) + body[:-60])

    def upload(number: int) -> int:
        with server.client() as client:
            file = {"SourceData": ("same.txt", b"Text %d." % number)}
            answer = client.post("/embed", data=FORM, files=file)
            assert answer.status_code == 200, answer.text
            job: int = answer.json()["JobID"]
            return job

    with ThreadPoolExecutor(20) as pool:
        jobs = list(pool.map(upload, range(20)))
    for connection in slow:
        connection.sendall(body[-60:])
        status, answer = read_answer(connection)
        assert status == 200
        jobs.append(int(str(answer["JobID"])))
        connection.close()

    assert len(set(jobs)) == 50


def test_a_client_that_goes_away_in_the_middle_leaves_nothing_behind(server: Server) -> None:
    body = written_form("gone.txt", b"b" * 5 * MIB)
    uploads = server.data_dir / "blobs" / "uploads"

    def drafts() -> list[Path]:
        return [path for path in uploads.rglob("*") if "~" in path.name]

    with server.connect() as connection:
        connection.sendall(server.head("/embed", len(body), VectorFlowKey=KEY) + body[: 4 * MIB])
        wait_until(lambda: len(drafts()) == 1)
    wait_until(lambda: drafts() == [])

    with server.client() as client:
        assert client.get("/livez").status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the memory from /proc")
def test_an_upload_does_not_pass_through_memory(server: Server) -> None:
    def upload(data: bytes) -> None:
        with server.client() as client:
            answer = client.post("/embed", data=FORM, files={"SourceData": ("big.txt", data)})
        assert answer.status_code == 200

    def peak() -> int:
        status = Path(f"/proc/{server.pid}/status").read_text("utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    for _ in range(3):
        upload(b"warm " * 200_000)
    Path(f"/proc/{server.pid}/clear_refs").write_text("5", "utf-8")
    before = peak()
    upload(b"large" * 4 * MIB)

    assert peak() - before < 6 * MIB
