import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.acceptance.cli_process import COMMAND, environment, vectorflow
from vectorflow.adapters.vector_caches.files import FileVectorCache
from vectorflow.domain.pipelines import Fingerprint
from vectorflow.ports.vector_cache import CacheScope


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)

    ran = subprocess.run(
        [*COMMAND, "config", "show"],
        cwd=tmp_path,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        check=False,
    )
    os.close(write)

    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_ledger_is_made_upgraded_and_checked(tmp_path: Path) -> None:
    absent = vectorflow(tmp_path, "db", "check")
    assert not (tmp_path / ".vectorflow").exists()

    made = vectorflow(tmp_path, "db", "upgrade")
    checked = vectorflow(tmp_path, "db", "check", "--json")

    assert (absent.code, made.code, checked.code) == (1, 0, 0)
    assert "vectorflow db upgrade" in absent.err
    assert checked.json["up_to_date"] is True
    assert "alembic" not in made.err


def test_the_doctor_finds_a_fresh_directory_healthy_and_makes_no_ledger(tmp_path: Path) -> None:
    ran = vectorflow(tmp_path, "doctor")

    assert ran.code == 0
    assert "there is no ledger yet" in ran.out
    assert "none; workers look for work every 0.2 s" in ran.out
    assert not (tmp_path / ".vectorflow" / "ledger.db").exists()


def test_the_doctor_names_what_is_broken_and_looks_at_the_rest(tmp_path: Path) -> None:
    vectorflow(tmp_path, "db", "upgrade")
    nowhere = "postgresql://nobody@127.0.0.1:1/none"

    ran = vectorflow(tmp_path, "doctor", "--json", "--store", nowhere)

    findings = ran.json["findings"]
    assert isinstance(findings, list)
    states = {finding["part"]: finding["state"] for finding in findings}
    assert (ran.code, ran.json["healthy"]) == (1, False)
    assert states["store"] == "broken"
    assert states["ledger"] == states["embedder"] == states["backlog"] == "ok"
    facts = {finding["part"]: finding["facts"] for finding in findings}
    assert facts["rows"]["attempts"] == facts["blobs"]["vectors"] == 0
    assert facts["cache"] == {"vectors": 0, "bytes": 0, "max_bytes": 2 << 30}


def test_the_cache_of_one_tenant_is_cleared_and_the_rest_is_shown(tmp_path: Path) -> None:
    kept = {"acme": 3, "default": 2}
    asyncio.run(fill_cache(tmp_path / ".vectorflow" / "cache", kept))

    doctor = vectorflow(tmp_path, "doctor").out
    cleared = vectorflow(tmp_path, "cache", "clear", "--tenant", "acme")
    again = vectorflow(tmp_path, "cache", "clear", "--tenant", "acme", "--json").json
    left = vectorflow(tmp_path, "cache", "--json").json

    assert "5 vectors, " in doctor
    assert " of 2.0 GiB" in doctor
    assert cleared.out == "3 vectors deleted; nothing of tenant acme is cached any more\n"
    assert (again["tenant"], again["vectors"]) == ("acme", 0)
    assert left["vectors"] == 2
    assert vectorflow(tmp_path, "cache", "clear").out == "nothing is cached any more\n"
    assert vectorflow(tmp_path, "cache", "--json").json["vectors"] == 0


async def fill_cache(folder: Path, vectors: Mapping[str, int]) -> None:
    """Keep so many vectors of each tenant."""
    model = Fingerprint(model="m", revision="1", dimensions=4, pooling="mean", normalized=True)
    cache = FileVectorCache(folder, max_bytes=1 << 30, max_age=3600)
    for tenant, count in vectors.items():
        scope = CacheScope(ledger="any", tenant=tenant, fingerprint=model)
        keys = [bytes([number]) * 16 for number in range(count)]
        await cache.keep(scope, keys, np.eye(4, dtype=np.float32)[:count])
    await cache.close()


def test_reconcile_is_content_until_something_differs(tmp_path: Path) -> None:
    absent = vectorflow(tmp_path, "reconcile")
    (tmp_path / "a.txt").write_text("The tide turns at noon.", encoding="utf-8")
    vectorflow(tmp_path, "embed", "a.txt", "--embedder", "hash:8")
    clean = vectorflow(tmp_path, "reconcile", "--json")
    shutil.rmtree(tmp_path / ".vectorflow" / "vectors")
    differs = vectorflow(tmp_path, "reconcile", "--index", "default")

    assert absent.code == 1
    assert "there is no ledger" in absent.err
    assert (clean.code, clean.json["clean"], clean.json["differences"]) == (0, True, [])
    assert differs.code == 1
    assert "differs  default: the store lost the index" in differs.out


@pytest.mark.parametrize("command", [["jobs", "show", "7"], ["failures", "7"]])
def test_an_unknown_job_is_an_error(tmp_path: Path, command: list[str]) -> None:
    ran = vectorflow(tmp_path, *command, "--json")

    assert ran.code == 1
    assert ran.json["error"] == {
        "code": "not_found",
        "message": "there is no job 7",
        "fix": "`vectorflow jobs list` shows the jobs there are",
    }


def test_a_taken_port_is_one_clear_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ran = vectorflow(tmp_path, "api", "--port", str(port))

    assert ran.code == 1
    assert f"error    port {port} of 127.0.0.1 is taken" in ran.err
    assert "Traceback" not in ran.err
