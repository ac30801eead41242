"""A job that waits for a better key, seen from the command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.cli_process import vectorflow, write_corpus
from tests.acceptance.v0_site import PROVIDER_KEY, Backstage
from vectorflow.testing.provider import FakeProvider

pytestmark = pytest.mark.slow


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    backstage = Backstage()
    yield backstage.start(FakeProvider(keys=[PROVIDER_KEY]))
    backstage.close()


def test_a_job_with_a_refused_key_waits_and_is_resumed_with_a_good_one(
    tmp_path: Path, provider: FakeProvider
) -> None:
    write_corpus(tmp_path / "docs", 2)
    paid = {
        "VECTORFLOW_EMBEDDER": "openai:text-embedding-3-small",
        "OPENAI_BASE_URL": provider.url,
    }
    wrong, right = paid | {"OPENAI_API_KEY": "sk-wrong"}, paid | {"OPENAI_API_KEY": PROVIDER_KEY}

    embed = vectorflow(tmp_path, "embed", "docs", **wrong)
    failures = vectorflow(tmp_path, "failures", **wrong)
    resumed = vectorflow(tmp_path, "jobs", "resume", "1", "--wait", **right)

    assert embed.code == 3, embed.err
    assert "PAUSED  2 files accepted, and kept until the job goes on" in embed.out
    assert "then `vectorflow jobs resume 1`" in " ".join(embed.out.split())
    assert "sk-wrong" not in embed.out + embed.err
    assert "nothing has failed" in failures.err
    assert resumed.code == 0, resumed.err
    assert "job 1 is completed: 2 done, 0 failed" in resumed.out
