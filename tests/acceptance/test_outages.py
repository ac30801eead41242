"""Providers that are away, or break over one text, seen from the command line."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.cli_process import COMMAND, environment, vectorflow, write_corpus
from tests.acceptance.v0_site import Backstage
from vectorflow.domain.retries import MAX_ATTEMPTS
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database
from vectorflow.testing.ledgers import rows
from vectorflow.testing.provider import FakeProvider, Faults

pytestmark = pytest.mark.slow


@pytest.fixture
def backstage() -> Iterator[Backstage]:
    opened = Backstage()
    yield opened
    opened.close()


def paid(provider: FakeProvider) -> dict[str, str]:
    return {
        "VECTORFLOW_EMBEDDER": "openai:text-embedding-3-small",
        "OPENAI_BASE_URL": provider.url,
        "OPENAI_API_KEY": "sk-canary",
        "VECTORFLOW_RETRIES__LONGEST_PAUSE": "0.3",
    }


def failures_in_a_row(folder: Path) -> int:
    """Read how often a system was found away since it last answered."""
    path = folder / ".vectorflow" / "ledger.db"
    if not path.exists():
        return 0
    database = Database(f"sqlite:///{path}")
    try:
        if database.read_now(schema.current_revision) != schema.newest_revision():
            return 0  # it is being made
        found = rows(database, "SELECT failures FROM buckets")
        return max((int(str(row[0])) for row in found), default=0)
    finally:
        database.close()


def test_a_provider_that_is_away_for_longer_than_all_tries_last_costs_no_document(
    tmp_path: Path, backstage: Backstage
) -> None:
    write_corpus(tmp_path / "docs", 3)
    provider = FakeProvider()
    backstage.run(provider.__aenter__())
    backstage.run(provider.__aexit__())  # its port is free now, and nobody answers there
    settings = paid(provider)

    with (
        (tmp_path / "stderr").open("w") as said,
        subprocess.Popen(
            [*COMMAND, "embed", "docs"],
            cwd=tmp_path,
            env=environment(**settings),
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as embed,
    ):
        try:
            while failures_in_a_row(tmp_path) < 2 * MAX_ATTEMPTS:
                assert embed.poll() is None
                time.sleep(0.1)
            while "waits" not in (tmp_path / "stderr").read_text():
                assert embed.poll() is None
                time.sleep(0.1)
            shown = vectorflow(tmp_path, "jobs", "show", "1", **settings)
            backstage.start(provider)
            out, _ = embed.communicate(timeout=100)
        finally:
            embed.kill()

    assert embed.returncode == 0, (tmp_path / "stderr").read_text()
    assert "3 files are searchable" in out
    told = " ".join(shown.out.split())
    assert "waits for openai:text-embedding-3-small: the embedding provider 127.0.0.1" in told
    assert "sk-canary" not in shown.out + (tmp_path / "stderr").read_text()


def test_a_text_over_which_the_provider_breaks_fails_alone_and_soon(
    tmp_path: Path, backstage: Backstage
) -> None:
    write_corpus(tmp_path / "docs", 3)
    (tmp_path / "docs" / "poison.md").write_text("Whoever reads of the platypus breaks.")
    provider = backstage.start(FakeProvider(faults=Faults(breaks_over="platypus")))
    settings = paid(provider)

    embed = vectorflow(tmp_path, "embed", "docs", **settings)
    failures = vectorflow(tmp_path, "failures", "--json", **settings)

    assert embed.code == 4, embed.err
    [failure] = failures.json["failures"]  # type: ignore[misc]
    assert failure["external_id"] == "poison.md"
    assert (failure["code"], failure["attempts"]) == ("unavailable", MAX_ATTEMPTS)
