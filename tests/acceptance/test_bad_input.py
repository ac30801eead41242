"""Requests that are wrong: each is refused with a sentence, and leaves nothing behind."""

import http.client
import io
import json
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.acceptance.api_server import wait_until, written_form
from tests.acceptance.v0_site import (
    KEY,
    LOCAL,
    OPEN_AI,
    OWN_STORE,
    Site,
    form,
    refusal,
    v0_site,
)

MIB = 1 << 20
ROUTES = {
    "/embed": "POST",
    "/s3": "POST",
    "/jobs": "POST",
    "/jobs/1/status": "GET",
    "/jobs/status": "POST",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with v0_site(tmp_path_factory.mktemp("bad"), worker=False) as running:
        yield running


def raw(site: Site, head: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send bytes as they are, and give status and body of what comes back."""
    with site.server.connect() as connection:
        connection.sendall(head.encode("latin-1") + body)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read()


def multipart(parts: Sequence[tuple[str, bytes]]) -> dict[str, object]:
    """A body of parts whose headers are written by hand."""
    pieces = [f"--edge\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts]
    return {
        "content": b"".join([*pieces, b"--edge--\r\n"]),
        "headers": {"content-type": "multipart/form-data; boundary=edge"},
    }


def field(name: str) -> str:
    return f'Content-Disposition: form-data; name="{name}"'


def test_30_megabytes_are_413_and_the_connection_serves_on(site: Site) -> None:
    """As a client that sends all before it reads."""
    place = urlsplit(site.server.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    kind = "multipart/form-data; boundary=edge"
    headers = {"VectorFlowKey": KEY, "Content-Type": kind}
    body = written_form("big.txt", b"a" * 30 * MIB)

    def upload() -> httpx.Response:
        connection.request("POST", "/embed", body=io.BytesIO(body), headers=headers)
        answer = connection.getresponse()
        return httpx.Response(answer.status, headers=answer.headers.items(), content=answer.read())

    try:
        sentence = site.refused(upload, 413, "too_large")
        first = connection.sock
        connection.request("GET", "/jobs/9999/status", headers=headers)
        after = connection.getresponse()
        assert (after.status, json.loads(after.read())["code"]) == (404, "not_found")
        assert connection.sock is first
    finally:
        connection.close()
    assert "VECTORFLOW_API__MAX_UPLOAD_BYTES" in sentence


def test_a_body_without_a_length_is_stopped_at_the_limit(site: Site) -> None:
    body = written_form("big.txt", b"a" * 27 * MIB)
    blocks = [body[start : start + MIB] for start in range(0, len(body), MIB)]
    kind = {"content-type": "multipart/form-data; boundary=edge"}

    site.refused(
        lambda: site.client.post("/embed", content=iter(blocks), headers=kind), 413, "too_large"
    )


@pytest.mark.parametrize("lie", [-40, -4])
def test_a_body_longer_than_it_says_is_cut_there_and_refused(site: Site, lie: int) -> None:
    body = written_form("a.txt", b"Some text.")
    head = site.server.head("/embed", len(body) + lie, VectorFlowKey=KEY).decode()

    def upload() -> httpx.Response:
        status, said = raw(site, head, body)
        return httpx.Response(status, headers={"content-type": "application/json"}, content=said)

    site.refused(upload, 400, "invalid_input")


def test_a_body_shorter_than_it_says_leaves_nothing(site: Site) -> None:
    uploads = site.server.data_dir / "blobs" / "uploads"
    body = written_form("a.txt", b"Some text.")

    def kept() -> set[Path]:
        return {path for path in uploads.rglob("*") if path.is_file()}

    before = kept()
    with site.server.connect() as connection:
        connection.sendall(site.server.head("/embed", len(body) + 9, VectorFlowKey=KEY) + body)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass  # the server closes when it has seen the end
    wait_until(lambda: kept() == before)


def test_heads_that_never_end_hold_up_nobody(site: Site) -> None:
    with ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(site.server.connect())
            connection.sendall(b"POST /embed HTTP/1.1\r\nVectorFlowKey: ")

        assert site.client.get("/livez").status_code == 200


MANY: dict[str, Sequence[tuple[str, bytes]]] = {
    "10,000 files": [(f'{field("SourceData")}; filename="{n}"', b"x") for n in range(10_000)],
    "10,000 fields": [(field(f"f{n}"), b"x") for n in range(10_000)],
    "a field of a megabyte": [(field("Metadata"), b"x" * MIB)],
    "an unknown field of a megabyte": [(field("x" * 100), b"x" * MIB)],
    "a header of a megabyte": [(field("x" * MIB), b"x")],
    "a million headers": [("\r\n".join(["X: y"] * 200_000), b"x")],
}


@pytest.mark.parametrize("what", MANY)
def test_forms_beyond_all_bounds_are_refused(site: Site, what: str) -> None:
    body = multipart(MANY[what])
    status, code = (400, "invalid_input") if "header" in what else (413, "too_large")

    site.refused(lambda: site.client.post("/embed", **body), status, code)


DEEP = "[" * 30_000 + "]" * 30_000


@pytest.mark.parametrize("name", ["EmbeddingsMetadata", "VectorDBMetadata", "Metadata"])
@pytest.mark.parametrize("deep", [DEEP, '{"a":' * 10_000 + "1" + "}" * 10_000])
def test_json_without_end_inside_is_refused(site: Site, name: str, deep: str) -> None:
    sentence = site.refused(lambda: site.send(**{name: deep}), 400, "invalid_input")

    assert name in sentence


def test_a_file_name_reaches_no_other_file(site: Site, tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("mine", "utf-8")
    names = [str(victim), "../" * 12 + str(victim)[1:], "..\\..\\victim.txt", "C:\\victim.txt"]
    data_dir = site.server.data_dir

    def outside() -> set[Path]:
        return {one for one in data_dir.parent.rglob("*") if data_dir not in one.parents}

    before = outside()
    for name in names:
        answer = site.send("Some text.", path="/jobs", name=name)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["successful_uploads"]) == 1

    assert victim.read_text("utf-8") == "mine"
    assert outside() == before
    uploads = [one for one in (data_dir / "blobs").glob("*/*/*") if one.is_file()]
    assert all(re.fullmatch("[0-9a-f]{32}", one.name) for one in uploads), uploads


KEYS = [
    "",
    "wrong",
    KEY.upper(),
    f"{KEY}x",
    KEY[:-1],
    f"{KEY},{KEY}",
    "Basic " + KEY,
    "Bearer",
]


@pytest.mark.parametrize("key", [*KEYS, "x" * 50_000, "\xff\xfe", "' OR 1=1 --"])
@pytest.mark.parametrize("header", ["VectorFlowKey", "Authorization"])
def test_a_key_that_is_none_is_401_whatever_is_asked(site: Site, header: str, key: str) -> None:
    sent = {header: key.encode("latin-1")}
    with site.server.client(**{"X-Other": "x"}) as stranger:
        for path in ("/embed", "/jobs/1/status", "/no/such/route"):
            answer = stranger.post(path, content=b"nonsense", headers=sent)
            assert answer.status_code == 401
            assert "VectorFlowKey" in refusal(answer, "unauthorized")
            assert key.strip() not in answer.text or len(key) < 8


@pytest.mark.parametrize(
    "lines",
    [
        f"VectorFlowKey: {KEY}\rX-Injected: y",
        f"VectorFlowKey: {KEY}\0",
        f"VectorFlowKey: {KEY}\r\nX-VectorDB-Key: a\rb",
        f"VectorFlowKey: {KEY}\r\nTransfer-Encoding: nonsense",
        f"VectorFlowKey: {KEY}\r\nContent-Length: -1",
        f"VectorFlowKey: {KEY}\r\nContent-Length: 1\r\nContent-Length: 2",
        f"VectorFlowKey: {KEY}\r\nNo Colon",
    ],
    ids=lambda lines: repr(lines)[:60],
)
def test_what_is_no_http_is_400(site: Site, lines: str) -> None:
    """Said by the HTTP layer, before any route is known."""
    status, _ = raw(site, f"GET /jobs/1/status HTTP/1.1\r\nHost: api\r\n{lines}\r\n\r\n")

    assert status == 400
    assert site.client.get("/livez").status_code == 200


@pytest.mark.parametrize("name", ["X-EmbeddingAPI-Key", "X-VectorDB-Key", "X-Webhook-Key"])
@pytest.mark.parametrize("value", [b"x" * 5000, b"\xff\xfe", b"a\tb"])
def test_a_key_of_others_that_is_none_is_refused_and_not_told(
    site: Site, name: str, value: bytes
) -> None:
    answer = site.client.post(
        "/embed", data=form(), files={"SourceData": ("a", b"x")}, headers={name: value}
    )

    sentence = refusal(answer, "invalid_input")
    assert answer.status_code == 400
    assert name in sentence
    assert value.decode("latin-1") not in sentence


INSIDE = [
    "169.254.169.254",
    "http://169.254.169.254/latest",
    "10.1.2.3:6333",
    "https://192.168.0.1",
    "http://[::ffff:10.0.0.1]:6333",
    "http://[fd00:ec2::254]",
    "http://0x7f.1",
    "http://2130706433",
    "http://127.1:6333",
    "0.0.0.0",  # noqa: S104 - nothing listens there
    "100.64.0.1",
]


@pytest.mark.parametrize("environment", INSIDE)
def test_a_store_inside_is_not_called(site: Site, environment: str) -> None:
    store = {"vector_db_type": "QDRANT", "index_name": "docs", "environment": environment}

    answer = site.send(VectorDBMetadata=store)

    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] in {"forbidden_address", "invalid_input"}
    site.refused(lambda: site.send(VectorDBMetadata=store), 400, answer.json()["code"])


@pytest.mark.parametrize(
    "environment",
    ["file:///etc/passwd", "gopher://127.0.0.1:6333", "https://u:p@example.org", "a b"],
)
def test_what_is_no_address_of_a_store_is_refused_and_not_told(
    site: Site, environment: str
) -> None:
    store = {"vector_db_type": "QDRANT", "index_name": "docs", "environment": environment}

    sentence = site.refused(lambda: site.send(VectorDBMetadata=store), 400, "invalid_input")

    assert environment not in sentence


@pytest.mark.parametrize(
    "host", ["evil.example/.pinecone.io", "169.254.169.254", "127.0.0.1:99999", "[::1]:0"]
)
def test_pinecones_key_goes_to_no_other_host(site: Site, host: str) -> None:
    """What is no host of Pinecone's is looked up by the name of the index, at Pinecone."""
    store = {"vector_db_type": "PINECONE", "index_name": "nowhere", "environment": host}
    key = {"X-VectorDB-Key": "pinecone-test-key"}
    local = host.endswith((":99999", ":0"))
    status, code = (400, "invalid_input") if local else (404, "not_found")

    site.refused(lambda: site.send(VectorDBMetadata=store, headers=key), status, code)


HOOKS = [
    "http://127.0.0.1:9/x",
    "https://127.0.0.1/x",
    "https://10.0.0.1/x",
    "https://[::1]/x",
    "https://[::ffff:127.0.0.1]/x",
    "https://169.254.169.254/latest/meta-data",
    "https://0x7f000001/x",
    "https://2130706433/x",
    "https://user:secret@example.org/x",
    "file:///etc/passwd",
    "ftp://example.org/x",
    "//example.org/x",
    "https:///x",
    "https://exa mple.org",
    "https://example.org/\r\nX: y",
    "not an address",
    "https://example.org:99999/",
    "https://" + "a" * 5000,
]


@pytest.mark.parametrize("name", ["WebhookURL", "ChunkValidationURL", "PreSignedURL"])
def test_an_address_that_may_not_be_called_is_refused_and_not_told(site: Site, name: str) -> None:
    for url in HOOKS:
        files = {"nothing": (None, "")} if name == "PreSignedURL" else {"SourceData": ("a", b"x")}
        answer = site.client.post(
            "/s3", data=form(**{name: url}), files=files, headers={"X-Webhook-Key": "k"}
        )

        assert answer.status_code == 400, (url, answer.text)
        assert answer.json()["code"] in {"forbidden_address", "invalid_input"}, answer.text
        assert name in answer.json()["error"]
        assert "secret" not in answer.text
        assert "etc/passwd" not in answer.text


def test_a_name_that_leads_inside_is_not_fetched_from(site: Site) -> None:
    """Names are looked up when they are called, not before."""
    url = "https://localhost/x?signature=secret"

    sentence = site.refused(lambda: site.fetch(url), 400, "forbidden_address")

    assert "VECTORFLOW_HOOKS__ALLOW" in sentence
    assert "secret" not in sentence


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([(field("LinesPerBatch"), b"1"), (field("LinesPerBatch"), b"2")], "comes twice"),
        ([(f'{field("SourceData")}; filename="a"', b"x")] * 2, "too many files"),
        ([(f'{field("file")}; filename="a"', b"x")], "SourceData"),
        ([("X-Nothing: y", b"x")], "RFC 7578"),
        ([(field("Metadata"), b"\xff\xfe")], "UTF-8"),
        ([], "EmbeddingsMetadata is missing"),
    ],
)
def test_a_form_that_contradicts_itself_is_refused(
    site: Site, parts: Sequence[tuple[str, bytes]], says: str
) -> None:
    sentence = site.refused(
        lambda: site.client.post("/embed", **multipart(parts)), 400, "invalid_input"
    )

    assert says in sentence


@pytest.mark.parametrize(
    "kind",
    ["", "application/json", "text/plain", "application/x-www-form-urlencoded", "\xff", "a;b"],
)
@pytest.mark.parametrize("path", ["/embed", "/s3", "/jobs"])
def test_another_content_type_is_415(site: Site, path: str, kind: str) -> None:
    headers = {"content-type": kind.encode("latin-1")} if kind else {}

    sentence = site.refused(
        lambda: site.client.post(path, content=b"SourceData=x", headers=headers), 415, "http_415"
    )

    assert "multipart/form-data" in sentence


@pytest.mark.parametrize("path", ROUTES)
def test_every_other_method_is_405(site: Site, path: str) -> None:
    for method in {"GET", "HEAD", "PUT", "DELETE", "PATCH", "POST", "OPTIONS"} - {ROUTES[path]}:
        answer = site.client.request(method, path)
        assert answer.status_code == 405, (method, path)
        assert answer.headers["allow"] == ROUTES[path]
        assert answer.headers["content-type"] == "application/json"
        if method != "HEAD":
            refusal(answer, "http_405")


@pytest.mark.parametrize(
    "job",
    ["abc", "1.5", "-1", "0", "9" * 100, str(1 << 63), "%00", "..%2f1", "٣", "1;drop"],
)
def test_a_job_that_there_cannot_be_is_404(site: Site, job: str) -> None:
    answer = site.client.get(f"/jobs/{job}/status")

    assert answer.status_code == 404
    assert answer.json()["code"] in {"not_found", "http_404"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_input"),
        (b"[]", 400, "invalid_input"),
        (b"null", 400, "invalid_input"),
        (b'{"JobIDs": 7}', 400, "invalid_input"),
        (b'{"JobIDs": "7"}', 400, "invalid_input"),
        (b'{"JobIDs": {}}', 400, "invalid_input"),
        (b'{"JobIDs": []}', 400, "invalid_input"),
        (b'{"JobIDs": ["x"]}', 400, "invalid_input"),
        (b'{"JobIDs": [1.5]}', 400, "invalid_input"),
        (b'{"JobIDs": [null]}', 400, "invalid_input"),
        (b'{"JobIDs": [' + b"1," * 1000 + b"1]}", 400, "invalid_input"),
        (b'{"JobIDs": [' + b"9" * 500 + b"]}", 404, "not_found"),
        (b'{"JobIDs": [-1, 0, 99999]}', 404, "not_found"),
        (b'{"JobIDs": ' + b"[" * 50_000, 400, "invalid_input"),
        (b'{"JobIDs": [1], "x": "' + b"x" * MIB + b'"}', 413, "too_large"),
        (b"\xff\xfe", 400, "invalid_input"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_question_about_jobs_that_is_none_is_refused(
    site: Site, body: bytes, status: int, code: str
) -> None:
    kind = {"content-type": "application/json"}

    site.refused(lambda: site.client.post("/jobs/status", content=body, headers=kind), status, code)


def test_an_upload_without_a_body_is_refused(site: Site) -> None:
    kind = {"content-type": "multipart/form-data; boundary=edge"}
    for path in ("/embed", "/s3", "/jobs"):
        site.refused(lambda path=path: site.client.post(path, headers=kind), 400, "invalid_input")
        site.refused(lambda path=path: site.client.post(path), 415, "http_415")


def test_a_model_that_reads_less_says_how_much(site: Site) -> None:
    asked = OPEN_AI | {"chunk_size": 9000, "chunk_overlap": 0}

    sentence = site.refused(lambda: site.send(EmbeddingsMetadata=asked), 400, "invalid_input")

    assert "8191 or less" in sentence


def test_a_good_request_is_taken_after_all_of_it(site: Site) -> None:
    answer = site.send(path="/jobs", EmbeddingsMetadata=LOCAL, VectorDBMetadata=OWN_STORE)

    assert list(answer.json()["successful_uploads"]) == ["rules.txt"]
