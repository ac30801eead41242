"""A worker whose documents are extracted in children."""

import os
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from io import BytesIO
from pathlib import Path

import pytest

import vectorflow as vf
from vectorflow import plugins, settings
from vectorflow.cli.checks import examine
from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.flow import Flow
from vectorflow.ports.work import Lease, LeasedIndex, LeasedJob
from vectorflow.sandbox import process
from vectorflow.sandbox.pool import Pool
from vectorflow.testing.workplace import PIPELINE
from vectorflow.wiring import recipes
from vectorflow.wiring.remote import RemoteParts

EXTRACTORS = {"bad": "BadExtractor", "plain": "PlainExtractor"}


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the extractors of the tests be found beside the real ones."""
    real = plugins._entry_points  # noqa: SLF001
    more = [
        EntryPoint(name, f"tests.bad_extractors:{value}", "vectorflow.extractors")
        for name, value in EXTRACTORS.items()
    ]

    def found(kind: str) -> tuple[EntryPoint, ...]:
        return (*real(kind), *(more if kind == "extractors" else ()))

    monkeypatch.setattr(plugins, "_entry_points", found)
    _forget()
    yield
    _forget()


def _forget() -> None:
    recipes.installed_extractors.cache_clear()
    recipes._suffixes.cache_clear()  # noqa: SLF001


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Flow]:
    data = tmp_path / "data"
    given = {"sandbox.silent_seconds": 20, "sandbox.children": 2, "embedder": "hash:8"}
    with vf.open(data_dir=data, **given) as opened:
        yield opened


def fill(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:02}.bad").write_text(f"say document {number}", encoding="utf-8")


@pytest.mark.parametrize("deed", ["abort", "kill_itself", "corrupt"])
def test_one_document_that_kills_its_extractor_fails_alone(
    flow: Flow, tmp_path: Path, deed: str
) -> None:
    fill(tmp_path / "in", 50)
    (tmp_path / "in" / "17.bad").write_text(f"{deed} x", encoding="utf-8")

    report = flow.embed(tmp_path / "in")

    assert report.status is JobState.PARTIAL
    assert (report.documents, report.failed, report.records) == (50, 1, 49)
    assert [failure.external_id for failure in flow.failures()] == ["17.bad"]
    found = {hit.document.external_id for hit in flow.search("document", k=60)}
    assert found == {f"{number:02}.bad" for number in range(50) if number != 17}


def test_many_documents_share_few_children(flow: Flow, tmp_path: Path) -> None:
    fill(tmp_path / "in", 50)

    report = flow.embed(tmp_path / "in")

    assert report.records == 50
    assert 1 <= sandbox(flow).started <= 2


def test_plain_text_starts_no_child(flow: Flow, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("text", encoding="utf-8")
    (tmp_path / "in" / "b.md").write_text("# text", encoding="utf-8")

    assert flow.embed(tmp_path / "in").records == 2

    assert sandbox(flow).started == 0


def test_an_estimate_is_made_in_children_too(flow: Flow, tmp_path: Path) -> None:
    fill(tmp_path / "in", 3)
    (tmp_path / "in" / "00.bad").write_text("abort x", encoding="utf-8")

    estimate = flow.estimate(tmp_path / "in")

    assert (estimate.documents, estimate.chunks) == (3, 2)


def test_a_long_document_comes_in_many_parts(flow: Flow, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    text = "".join(f"Sentence {number} of a long document. " for number in range(200_000))
    (tmp_path / "in" / "long.plain").write_text(text, encoding="utf-8")

    report = flow.embed(tmp_path / "in")

    assert report.failed == 0
    assert report.records > 1000


def test_a_closed_flow_leaves_no_child_behind(tmp_path: Path) -> None:
    fill(tmp_path / "in", 4)
    with vf.open(data_dir=tmp_path / "data", embedder="hash:8") as flow:
        flow.embed(tmp_path / "in")
        children = [child._process.pid for child in sandbox(flow)._all]  # noqa: SLF001

    assert children
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert os.getpid() not in children


def sandbox(flow: Flow) -> Pool:
    return flow._engine.parts.sandbox  # noqa: SLF001


async def test_workers_over_http_extract_in_children_too(tmp_path: Path) -> None:
    given = {"server.url": "http://127.0.0.1:9", "server.key": "key", "embedder": "hash:8"}
    lease = Lease(
        batch=1, epoch=1, kind=BatchKind.EXTRACT, seconds=30.0, attempt=1,
        job=LeasedJob(id=1, tenant="default", document_id=""), pipeline=PIPELINE,
        index=LeasedIndex(id=1, ledger="l", incarnation="i", written=False),
        versions=(), vectors=(),
    )  # fmt: skip

    async with RemoteParts(settings.load(given, environ={}, directory=tmp_path)) as parts:
        cutters = await parts.cutters(lease)
        async with cutters.extractor("plain") as plain, cutters.extractor("text") as text:
            sections = list(plain.extract(BytesIO(b"words")))
            assert list(text.extract(BytesIO(b"words"))) == sections
        (child,) = parts.sandbox._all  # noqa: SLF001

    assert not child.is_free


async def test_the_doctor_says_which_walls_stand(tmp_path: Path) -> None:
    given = {"sandbox.memory_bytes": "512MiB", "sandbox.cpu_seconds": 7, "embedder": "hash:8"}

    findings = await examine(settings.load(given, environ={}, directory=tmp_path))

    (found,) = [finding for finding in findings if finding.part == "sandbox"]
    assert found.text.startswith("memory 512 MiB, CPU 7 s, silence 120 s, output 200,000,000 ch")
    assert (found.state == "ok") is ("(seccomp)" in found.text and "(landlock)" in found.text)
    assert bool(found.fix) is (found.state == "note")


async def test_a_sandbox_that_does_not_start_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process.sys, "executable", "/bin/false")

    findings = await examine(settings.load({"embedder": "hash:8"}, environ={}, directory=tmp_path))

    (found,) = [finding for finding in findings if finding.part == "sandbox"]
    assert (found.state, found.text) == ("broken", "the sandbox does not start: it says nothing")
