"""`vectorflow keys` and `vectorflow secrets`, and what a server makes of them."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.acceptance.api_server import FORM, running_server, wait_until
from tests.acceptance.cli_process import COMMAND, environment, vectorflow
from vectorflow.ledger.database import Database
from vectorflow.testing.ledgers import rows

CANARY = "sk-canary-8c1e77"


def create(folder: Path, name: str, *options: str) -> dict[str, object]:
    ran = vectorflow(folder, "keys", "create", name, *options, "--json")
    assert ran.code == 0, ran.err
    return ran.json


def listed(folder: Path, group: str) -> list[dict[str, object]]:
    found = vectorflow(folder, group, "list", "--json").json[group]
    assert isinstance(found, list)
    return found


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_new_key_is_alone_on_stdout_and_kept_nowhere(tmp_path: Path) -> None:
    ran = vectorflow(tmp_path, "keys", "create", "laptop", "--scope", "read", "--expires", "30d")

    key = ran.out.strip()
    assert (ran.code, len(key), key[:3]) == (0, 46, "vf_")
    assert "for read, until " in ran.err
    assert "shown this once" in ran.err
    assert key not in ran.err
    assert key.encode() not in contents(tmp_path)
    table = vectorflow(tmp_path, "keys", "list").out
    assert "laptop" in table
    assert key not in table


def test_keys_are_made_listed_rotated_and_revoked(tmp_path: Path) -> None:
    assert "no keys yet" in vectorflow(tmp_path, "keys", "list").err
    first = create(tmp_path, "app", "--scope", "embed", "--scope", "read", "--expires", "2w")
    create(tmp_path, "all")

    rotated = vectorflow(tmp_path, "keys", "rotate", "app", "--overlap", "2h", "--json").json
    revoked = vectorflow(tmp_path, "keys", "revoke", "all")

    assert rotated["scopes"] == ["embed", "read"]
    assert rotated["expires_at"] == first["expires_at"]
    assert rotated["key"] != first["key"]
    assert revoked.out == "revoked key 2; servers notice within seconds\n"
    states = {key["id"]: (key["name"], key["state"]) for key in listed(tmp_path, "keys")}
    assert states == {1: ("app", "ending"), 2: ("all", "revoked"), 3: ("app", "good")}
    old = listed(tmp_path, "keys")[0]
    overlap = float(str(old["revoked_at"])) - float(str(rotated["created_at"]))
    assert overlap == pytest.approx(7200, abs=5)
    ended = vectorflow(tmp_path, "keys", "revoke", "app", "--json").json
    assert ended == {"revoked": [1, 3]}


MISTAKES = [
    ("create app", 1, "there is a key named 'app' already"),
    ("create 17", 2, "that cannot be the name of a key"),
    ("create x --scope delete", 2, "'delete' is not one of"),
    ("create x --expires 30", 2, "'30' is not a time, such as 90m, 24h or 30d"),
    ("create x --expires 999999999w", 2, "is not a time"),
    ("rotate app --overlap -1h", 2, "is not a time"),
    ("rotate nobody", 1, "there is no good key 'nobody'"),
    ("revoke 99", 1, "there is no good key '99'"),
]


def test_a_mistake_is_one_clear_sentence_and_changes_nothing(tmp_path: Path) -> None:
    create(tmp_path, "app")

    for arguments, code, error in MISTAKES:
        ran = vectorflow(tmp_path, "keys", *arguments.split(), "--json")

        told = ran.json["error"]
        assert isinstance(told, dict)
        assert (ran.code, bool(told["fix"])) == (code, True)
        assert error in told["message"]
    assert [key["state"] for key in listed(tmp_path, "keys")] == ["good"]


def test_a_server_lets_a_key_do_what_its_scopes_say_until_it_is_revoked(tmp_path: Path) -> None:
    reader = {"VectorFlowKey": str(create(tmp_path, "reader", "--scope", "read")["key"])}
    with running_server(tmp_path / ".vectorflow", INTERNAL_API_KEY="of-the-server") as server:
        file = {"SourceData": ("a.txt", b"Some text.")}
        with server.client() as client:
            job = client.post("/embed", data=FORM, files=file).json()["JobID"]
        with server.client(**reader) as client:
            asked = client.get(f"/jobs/{job}/status")
            sent = client.post("/embed", data=FORM, files=file)
            vectorflow(tmp_path, "keys", "revoke", "reader")
            wait_until(lambda: client.get(f"/jobs/{job}/status").status_code == 401)

    assert asked.status_code == 200
    assert sent.status_code == 403
    assert "'embed'" in sent.json()["error"]


def test_a_server_says_where_only_the_key_of_a_worker_is_set(tmp_path: Path) -> None:
    given = {"INTERNAL_API_KEY": "own", "VECTORFLOW_API_KEY": CANARY}
    for more in ({}, {"VECTORFLOW_SERVER": "http://127.0.0.1:9"}):
        with running_server(tmp_path / ".vectorflow", **given, **more):
            pass

    told = (tmp_path / "api.log").read_text("utf-8")
    assert told.count("server_key_unused") == 1
    assert "VECTORFLOW_API__KEY, with two underscores" in told
    assert CANARY not in told


def test_a_key_of_a_tenant_acts_for_it_alone_and_its_weight_counts(tmp_path: Path) -> None:
    folder = tmp_path / ".vectorflow"
    with running_server(folder, INTERNAL_API_KEY="own") as server:
        made = create(tmp_path, "app", "--tenant", "acme")
        vectorflow(tmp_path, "tenants", "weigh", "acme", "--weight", "4")
        with (
            server.client(VectorFlowKey="own") as ours,
            server.client(VectorFlowKey=str(made["key"])) as theirs,
        ):
            mine, yours = uploaded(ours, "mine"), uploaded(theirs, "yours")
            listed_jobs = [client.get("/v1/jobs").json()["jobs"] for client in (ours, theirs)]
            strange = theirs.get(f"/v1/jobs/{mine[0]}"), ours.get(f"/v1/jobs/{yours[0]}")
            taken = theirs.post("/embed", data=FORM | MINE, files=A_FILE)
            refused = theirs.get("/v1/backlog")

    assert [{job["id"] for job in found} for found in listed_jobs] == [set(mine), set(yours)]
    assert {answer.status_code for answer in strange} == {404}
    assert (taken.status_code, refused.status_code) == (409, 403)
    assert "another tenant" in taken.json()["error"]
    lengths = dict(rows_of(folder, "SELECT tenant, ends FROM shares"))
    assert lengths["default"] == pytest.approx(4 * lengths["acme"])


MINE = {"VectorDBMetadata": '{"vector_db_type":"LANCEDB","index_name":"mine"}'}
A_FILE = {"SourceData": ("a.txt", b"The tide turns at noon.")}


def uploaded(client: httpx.Client, index: str, count: int = 4) -> list[int]:
    """Send some files into an index, and give the jobs; each waits a while for a worker."""
    where = {"VectorDBMetadata": f'{{"vector_db_type":"LANCEDB","index_name":"{index}"}}'}

    def upload(number: int) -> httpx.Response:
        form = FORM | where | {"DocumentID": f"d{number}"}
        return client.post("/embed", data=form, files=A_FILE)

    with ThreadPoolExecutor(count) as threads:
        answers = [*threads.map(upload, range(count))]
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    return [answer.json()["JobID"] for answer in answers]


def rows_of(folder: Path, query: str) -> list[tuple[object, ...]]:
    database = Database(f"sqlite:///{folder / 'ledger.db'}")
    found = rows(database, query)
    database.close()
    return found


def test_keys_of_tenants_are_listed_together_and_ended_apart(tmp_path: Path) -> None:
    create(tmp_path, "app")
    create(tmp_path, "app", "--tenant", "acme", "--scope", "read")

    rotated = vectorflow(
        tmp_path, "keys", "rotate", "app", "--tenant", "acme", "--overlap", "0s", "--json"
    ).json
    strange = vectorflow(tmp_path, "keys", "revoke", "app", "--tenant", "nobody")
    vectorflow(tmp_path, "keys", "revoke", "app")

    assert (rotated["tenant"], rotated["scopes"]) == ("acme", ["read"])
    assert (strange.code, "no good key 'app'" in strange.err) == (1, True)
    states = [(key["tenant"], key["id"], key["state"]) for key in listed(tmp_path, "keys")]
    assert states == [("default", 1, "revoked"), ("acme", 2, "revoked"), ("acme", 3, "good")]
    of_acme = vectorflow(tmp_path, "keys", "list", "--tenant", "acme", "--json").json["keys"]
    assert isinstance(of_acme, list)
    assert [key["id"] for key in of_acme] == [2, 3]
    table = vectorflow(tmp_path, "keys", "list").out
    assert "acme" in table
    assert "default" in table


@pytest.mark.parametrize("tenant", ["", " ", "two\nlines", "t" * 65, " acme"])
def test_what_cannot_be_a_tenant_is_refused(tmp_path: Path, tenant: str) -> None:
    for command in (("keys", "create", "app"), ("secrets", "set", "memory")):
        ran = vectorflow(tmp_path, *command, "--tenant", tenant, stdin=CANARY)

        assert (ran.code, ran.out) == (2, "")
        assert "no tenant is called" in ran.err
    assert listed(tmp_path, "keys") == []


def test_secrets_of_tenants_are_apart(tmp_path: Path) -> None:
    kept = vectorflow(tmp_path, "secrets", "set", "memory", "--tenant", "acme", stdin=CANARY)

    theirs = vectorflow(tmp_path, "secrets", "list", "--tenant", "acme", "--json").json["secrets"]
    strange = vectorflow(tmp_path, "secrets", "delete", "memory")
    gone = vectorflow(tmp_path, "secrets", "delete", "memory", "--tenant", "acme")

    assert kept.code == 0
    assert isinstance(theirs, list)
    assert [secret["name"] for secret in theirs] == ["memory"]
    assert (strange.code, gone.code) == (1, 0)


def test_a_secret_comes_by_stdin_and_is_seen_by_nobody(tmp_path: Path) -> None:
    assert "no keys are kept" in vectorflow(tmp_path, "secrets", "list").err

    kept = vectorflow(tmp_path, "secrets", "set", "memory", stdin=f"{CANARY}\n")

    assert (kept.code, kept.out) == (0, "the key of memory is kept, sealed\n")
    shown = vectorflow(tmp_path, "secrets", "list")
    assert shown.out.splitlines()[1].startswith("memory")
    assert [secret["name"] for secret in listed(tmp_path, "secrets")] == ["memory"]
    for text in (kept.err, shown.out, shown.err):
        assert CANARY not in text
    assert CANARY.encode() not in contents(tmp_path)
    assert (tmp_path / ".vectorflow" / "secret.key").stat().st_mode & 0o777 == 0o600
    assert vectorflow(tmp_path, "secrets", "delete", "memory").code == 0
    assert listed(tmp_path, "secrets") == []
    again = vectorflow(tmp_path, "secrets", "delete", "memory")
    assert (again.code, "there is no secret 'memory'" in again.err) == (1, True)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal of its own")
def test_at_a_terminal_a_secret_is_asked_for_and_not_shown(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*COMMAND, "secrets", "set", "memory"],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(),
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    while b"key of memory" not in seen:
        seen += os.read(ours, 1024)
    os.write(ours, f"{CANARY}\n".encode())
    while b"sealed" not in seen:
        seen += os.read(ours, 1024)
    code = process.wait(30)
    os.close(ours)

    assert code == 0
    assert CANARY.encode() not in seen
    assert [secret["name"] for secret in listed(tmp_path, "secrets")] == ["memory"]


REFUSED = [
    ("memry", CANARY, "did you mean 'memory'?"),
    ("memory", "", "the key of 'memory' is empty"),
    ("memory", f"{CANARY}\nmore", "the key of 'memory' is empty, too long"),
]


def test_what_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    for name, value, error in REFUSED:
        ran = vectorflow(tmp_path, "secrets", "set", name, stdin=value)

        assert (ran.code, ran.out) == (2, "")
        assert error in ran.err
        assert CANARY not in ran.err
    assert listed(tmp_path, "secrets") == []


def test_the_key_that_seals_is_changed_without_losing_what_is_sealed(tmp_path: Path) -> None:
    old, new = (vectorflow(tmp_path, "secrets", "make-key").out.strip() for _ in range(2))
    vectorflow(tmp_path, "secrets", "set", "memory", stdin=CANARY, VECTORFLOW_SECRETS__KEY=old)

    lost = vectorflow(tmp_path, "secrets", "rotate", "--json", VECTORFLOW_SECRETS__KEY=new)
    both = f"{new},{old}"
    done = vectorflow(tmp_path, "secrets", "rotate", VECTORFLOW_SECRETS__KEY=both)
    alone = vectorflow(tmp_path, "secrets", "rotate", "--json", VECTORFLOW_SECRETS__KEY=new)

    assert (lost.code, lost.json) == (1, {"resealed": 0, "unsealable": 1})
    assert (done.code, done.out) == (0, "1 sealed text sealed anew\n")
    assert (alone.code, alone.json) == (0, {"resealed": 1, "unsealable": 0})
    assert not (tmp_path / ".vectorflow" / "secret.key").exists()


def test_a_key_to_seal_with_that_is_none_is_refused_and_not_told(tmp_path: Path) -> None:
    ran = vectorflow(
        tmp_path, "secrets", "set", "memory", stdin="value", VECTORFLOW_SECRETS__KEY=CANARY
    )

    assert ran.code == 2
    assert "make one with `vectorflow secrets make-key`" in " ".join(ran.err.split())
    assert CANARY not in ran.err
