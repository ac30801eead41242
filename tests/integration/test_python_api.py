"""The Python API on embedded defaults, with the hash embedder."""

import asyncio
import fcntl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import vectorflow as vf
from vectorflow.domain.jobs import JobState
from vectorflow.errors import (
    Conflict,
    EmptyDocument,
    FingerprintMismatch,
    ForeignIndex,
    InvalidInput,
    InvalidSetting,
    NotFound,
    UnknownPlugin,
)
from vectorflow.flow import EmbedOptions, Flow, Progress

HANDBOOK = Path(__file__).parents[2] / "examples" / "documents"

MANUAL = """# The lamp

Trim the wick every evening. Polish the lens before dusk.

## Oil

Keep forty litres of oil in the store room. Never fill a burning lamp.

# The fog bell

Ring the bell twice a minute while the fog lasts.
"""


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Flow]:
    with vf.open(data_dir=tmp_path / "data", embedder="hash:64") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "manuals"
    root.mkdir()
    (root / "lamp.md").write_text(MANUAL, encoding="utf-8")
    (root / "tide.txt").write_text(
        "The tide turns at noon.\n\nBring in the boat.", encoding="utf-8"
    )
    return root


def test_chunks_are_shown_without_embedding_them(flow: Flow, folder: Path) -> None:
    found = flow.chunks(folder / "lamp.md", chunker="sentences", size=20, overlap=0)

    assert (found.document, found.extractor, found.chunker, found.size) == (
        "lamp.md", "markdown", "sentences", 20,
    )  # fmt: skip
    assert [chunk.text for chunk in found.chunks][:2] == [
        "# The lamp", "Trim the wick every evening.",
    ]  # fmt: skip
    assert found.chunks[0].headings == ("The lamp",)
    assert found.summary.chunks == len(found.chunks)
    assert flow.jobs() == []


@pytest.mark.parametrize("chunker", ["default", "tokens", "paragraphs"])
def test_chunks_are_those_that_an_embed_stores(tmp_path: Path, chunker: str) -> None:
    chunking = {"chunking.chunker": chunker, "chunking.size": 40, "chunking.overlap": 10}
    with vf.open(data_dir=tmp_path / "data", embedder="hash:64", **chunking) as flow:
        flow.embed(HANDBOOK)
        stored = flow.export().read_all().to_pylist()
        for name in {row["document"] for row in stored}:
            shown = flow.chunks(HANDBOOK / name).chunks

            rows = [row for row in stored if row["document"] == name]
            assert [(one.position, one.start, one.end, one.text) for one in shown] == [
                (row["position"], row["start"], row["end"], row["text"]) for row in rows
            ]
            assert [(one.page, list(one.headings)) for one in shown] == [
                (row["page"], row["headings"]) for row in rows
            ]
    assert len(stored) > 50


def test_chunks_of_a_text_are_cut_as_the_settings_say(flow: Flow) -> None:
    found = flow.chunks({"id": "note.md", "text": MANUAL})

    assert (found.chunker, found.size, found.overlap) == ("default", 512, 64)
    assert [chunk.headings for chunk in found.chunks] == [
        ("The lamp",), ("The lamp", "Oil"), ("The fog bell",),
    ]  # fmt: skip


def test_chunks_that_cannot_be_are_refused(flow: Flow, folder: Path) -> None:
    with pytest.raises(InvalidInput, match="less than the size"):
        flow.chunks(folder / "lamp.md", size=8, overlap=8)
    with pytest.raises(InvalidInput, match="this is a directory"):
        flow.chunks(folder)
    with pytest.raises(InvalidInput, match="there are none"):
        flow.chunks(iter([]))
    with pytest.raises(EmptyDocument):
        flow.chunks(b"")


async def test_chunks_are_shown_to_asynchronous_code(tmp_path: Path, folder: Path) -> None:
    async with vf.aopen(data_dir=tmp_path / "data", embedder="hash:64") as flow:
        found = await flow.chunks(folder / "lamp.md")

    assert len(found.chunks) == 3


def test_a_directory_is_embedded_and_found(flow: Flow, folder: Path) -> None:
    report = flow.embed(folder)

    assert report.status is JobState.COMPLETED
    assert (report.documents, report.new, report.failed) == (2, 2, 0)
    assert report.records == report.records_new == report.chunks_embedded == 4

    hit = flow.search("Ring the bell twice a minute while the fog lasts.", k=10)
    assert len(hit) == 4
    assert {found.document.external_id for found in hit} == {"lamp.md", "tide.txt"}


def test_a_hit_says_where_it_stands_in_its_document(flow: Flow, folder: Path) -> None:
    flow.embed(folder)

    hits = flow.search("anything", k=10)

    for hit in hits:
        text = (folder / hit.document.external_id).read_text(encoding="utf-8")
        assert text[hit.chunk.start : hit.chunk.end] == hit.text
    assert ("The lamp", "Oil") in {hit.chunk.headings for hit in hits}


def test_the_same_text_is_its_own_nearest_neighbour(flow: Flow) -> None:
    flow.embed([{"id": f"d{n}", "text": f"sentence number {n}"} for n in range(50)])

    best = flow.search("sentence number 17", k=1)[0]

    assert best.document.external_id == "d17"
    assert best.score == pytest.approx(1.0, abs=1e-5)


def test_nothing_changed_costs_nothing(flow: Flow, folder: Path) -> None:
    flow.embed(folder)

    again = flow.embed(folder)

    assert (again.unchanged, again.new, again.changed) == (2, 0, 0)
    assert (again.embedding_calls, again.records_new, again.records_old) == (0, 0, 0)


def test_an_edit_costs_its_own_chunks_only(flow: Flow, folder: Path) -> None:
    flow.embed(folder)
    (folder / "lamp.md").write_text(MANUAL.replace("forty", "fifty"), encoding="utf-8")

    report = flow.embed(folder)

    assert (report.changed, report.unchanged) == (1, 1)
    assert (report.chunks_embedded, report.records_new, report.records_old) == (1, 1, 1)
    assert report.records == 4


def test_new_metadata_rewrites_records_and_embeds_nothing(flow: Flow, folder: Path) -> None:
    flow.embed(folder)

    report = flow.embed(folder, options=EmbedOptions(metadata={"team": "keepers"}))

    assert (report.changed, report.records_new, report.records_old) == (2, 4, 4)
    assert report.chunks_embedded == 0
    assert len(flow.search("x", k=10, filter={"team": "keepers"})) == 4
    assert flow.search("x", k=10, filter={"team": "others"}) == []


def test_what_a_directory_no_longer_holds_is_gone(flow: Flow, folder: Path) -> None:
    flow.embed(folder)
    (folder / "tide.txt").unlink()

    report = flow.embed(folder)

    assert (report.gone, report.records_old) == (1, 1)
    assert {hit.document.external_id for hit in flow.search("tide", k=10)} == {"lamp.md"}


def test_a_listing_that_lost_more_than_half_needs_permission(flow: Flow, folder: Path) -> None:
    flow.embed(folder)
    (folder / "lamp.md").unlink()
    (folder / "tide.txt").unlink()
    (folder / "new.txt").write_text("new", encoding="utf-8")

    with pytest.raises(InvalidInput, match=r"2 of 2 documents .* are gone.*--allow-delete"):
        flow.embed(folder)
    allowed = flow.embed(folder, options=EmbedOptions(allow_delete=True))

    assert (allowed.gone, allowed.new) == (2, 1)


def test_a_bad_document_fails_alone(flow: Flow, folder: Path) -> None:
    (folder / "junk.txt").write_bytes(bytes(range(256)) * 20)
    (folder / "empty.txt").write_text(" \n\n ", encoding="utf-8")

    report = flow.embed(folder)

    assert report.status is JobState.PARTIAL
    assert (report.new, report.failed) == (4, 2)
    failures = {failure.external_id: failure for failure in report.failures}
    assert failures["junk.txt"].code == "binary_content"
    assert failures["empty.txt"].code == "empty_document"
    assert all(failure.fix for failure in failures.values())
    assert len(flow.search("lamp", k=10)) == 4


def test_an_empty_file_says_so_when_it_is_alone(flow: Flow, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()

    report = flow.embed(tmp_path / "empty.txt")

    assert report.status is JobState.FAILED
    assert report.failures[0].code == "empty_document"


def test_a_file_that_stays_bad_makes_the_next_run_partial_not_failed(
    flow: Flow, folder: Path
) -> None:
    (folder / "junk.txt").write_bytes(bytes(range(256)) * 20)
    flow.embed(folder)

    again = flow.embed(folder)

    assert (again.status, again.failed, again.unchanged) == (JobState.PARTIAL, 1, 2)


def test_a_failed_change_leaves_the_version_before_it_served(flow: Flow, folder: Path) -> None:
    flow.embed(folder)
    (folder / "tide.txt").write_bytes(b"\0\1\2" * 100)

    report = flow.embed(folder)

    assert report.failures[0].served_version == 1
    assert report.failures[0].attempted_version == 2
    assert "tide.txt" in {hit.document.external_id for hit in flow.search("tide", k=10)}


def test_two_roots_may_hold_the_same_path(flow: Flow, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "tide.txt").write_text("A different tide.", encoding="utf-8")
    flow.embed(folder)

    report = flow.embed(other)

    assert (report.new, report.gone, report.records) == (1, 0, 5)
    assert {"A different tide."} <= {hit.text for hit in flow.search("tide", k=10)}


def test_an_estimate_changes_nothing(flow: Flow, folder: Path) -> None:
    before = flow.estimate(folder)
    flow.embed(folder)
    after = flow.estimate(folder)

    assert (before.new, before.unchanged, before.chunks) == (2, 0, 4)
    assert (after.new, after.unchanged, after.chunks, after.tokens) == (0, 2, 0, 0)
    assert len(flow.jobs()) == 1


def test_vectors_are_handed_back_without_a_store(flow: Flow) -> None:
    vectors = flow.vectors(["one", "two"])

    table = vectors.to_arrow()
    assert table.column_names == ["text", "vector"]
    assert vectors.matrix.shape == (2, 64)
    assert np.linalg.norm(vectors.matrix, axis=1) == pytest.approx([1, 1], abs=1e-5)


def test_progress_is_told(flow: Flow, folder: Path) -> None:
    seen: list[Progress] = []

    flow.embed(folder, on_progress=seen.append)

    scans = [progress.scan for progress in seen if progress.scan]
    jobs = [progress.job for progress in seen if progress.job]
    assert scans[-1].seen == 2
    assert jobs[-1].state is JobState.COMPLETED


async def test_it_works_inside_a_running_event_loop(tmp_path: Path, folder: Path) -> None:
    with vf.open(data_dir=tmp_path / "data", embedder="hash:64") as flow:
        assert flow.embed(folder).status is JobState.COMPLETED
    async with vf.aopen(data_dir=tmp_path / "data", embedder="hash:64") as flow:
        report, hits = await asyncio.gather(flow.embed(folder), flow.search("lamp", k=2))
    assert report.unchanged == 2
    assert len(hits) == 2


def test_a_store_that_vanished_is_filled_anew(flow: Flow, folder: Path, tmp_path: Path) -> None:
    import shutil  # noqa: PLC0415

    flow.embed(folder)
    shutil.rmtree(tmp_path / "data" / "vectors")

    report = flow.embed(folder)

    assert (report.changed + report.new, report.unchanged) == (2, 0)
    assert report.chunks_embedded == 4
    assert len(flow.search("lamp", k=10)) == 4


def test_an_index_of_another_model_is_refused(tmp_path: Path, folder: Path) -> None:
    with vf.open(data_dir=tmp_path / "data", embedder="hash:64") as flow:
        flow.embed(folder)
    with vf.open(data_dir=tmp_path / "data", embedder="hash:32") as flow:
        with pytest.raises(FingerprintMismatch, match="another index name"):
            flow.embed(folder)
        with pytest.raises(FingerprintMismatch, match="another index name"):
            flow.search("lamp")


def test_an_index_of_another_ledger_is_refused(tmp_path: Path, folder: Path) -> None:
    store = f"lancedb://{tmp_path / 'shared'}"
    with vf.open(data_dir=tmp_path / "one", store=store, embedder="hash:64") as flow:
        flow.embed(folder)
    with (
        vf.open(data_dir=tmp_path / "two", store=store, embedder="hash:64") as flow,
        pytest.raises(ForeignIndex, match="another ledger"),
    ):
        flow.embed(folder)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"embedder": "nope:1"}, UnknownPlugin, "no embedders named 'nope'"),
        ({"store": "nope://x"}, UnknownPlugin, "no vector_stores named 'nope'"),
        ({"chunking.chunker": "nope"}, UnknownPlugin, "no chunkers named 'nope'"),
        ({"chunking.size": 10, "chunking.overlap": 10}, InvalidSetting, "overlap"),
        (
            {"embedder": "local:all-MiniLM-L6-v2", "chunking.size": 500},
            InvalidInput,
            "reads 254 tokens",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_done(
    tmp_path: Path, folder: Path, settings: dict[str, object], error: type[Exception], says: str
) -> None:
    with (
        pytest.raises(error, match=says),
        vf.open(data_dir=tmp_path / "data", **{"embedder": "hash:64"} | settings) as flow,
    ):
        flow.embed(folder)


def test_a_search_without_an_index_says_what_to_do(flow: Flow) -> None:
    with pytest.raises(NotFound, match="embed something into it first"):
        flow.search("lamp")


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"text": "no id"}, "no id"),
        ({"id": "x"}, "'x' has no text"),
        ({"id": "x", "text": "t", "metadata": 3}, "metadata of document 'x'"),
        (3, "came as int"),
    ],
)
def test_malformed_items_are_refused(flow: Flow, item: object, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        flow.embed(iter([item]))  # type: ignore[list-item]


@pytest.mark.parametrize(
    "settings",
    [
        {"store": "postgresql://db.example.org/vectors"},
        {"database.url": "postgresql://db.example.org/ledger"},
        {"queue.url": "amqps://db.example.org/vhost"},
    ],
)
def test_offline_refuses_addresses_on_other_machines_by_name(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    with pytest.raises(InvalidSetting, match=r"'db\.example\.org'.*OFFLINE"):
        vf.open(data_dir=tmp_path / "data", offline=True, **settings)


def test_an_embed_returns_when_its_job_is_paused_and_can_be_followed_later(
    tmp_path: Path, folder: Path
) -> None:
    given = {"data_dir": tmp_path / "data", "embedder": "hash:64"}
    with vf.open(**given) as flow, vf.open(**given) as other:

        def pause(progress: Progress) -> None:
            if progress.job and progress.job.state is JobState.RUNNING:
                other.pause(progress.job.id)

        with (tmp_path / "data" / "worker.lock").open("w") as seat:
            fcntl.flock(seat, fcntl.LOCK_EX)  # or the job might have ended before it is paused
            report = flow.embed(folder, on_progress=pause)
        assert report.status is JobState.PAUSED
        assert report.paused is not None
        assert report.paused["reason"] == "operator"

        assert other.resume(report.job_id).state is JobState.RUNNING
        assert flow.follow(report.job_id).state is JobState.COMPLETED
        assert flow.search("Trim the wick")[0].document.external_id == "lamp.md"
        with pytest.raises(Conflict, match="is completed and cannot be cancelled"):
            flow.cancel(report.job_id)


async def test_asynchronous_code_steers_jobs_too(tmp_path: Path) -> None:
    async with vf.aopen(data_dir=tmp_path / "data", embedder="hash:64") as flow:
        report = await flow.embed({"id": "empty", "text": " "})
        assert [failure.code for failure in report.failures] == ["empty_document"]

        retried = await flow.retry(cause="empty_document", canary=1)
        assert (retried.documents, retried.jobs) == (1, (report.job_id,))
        assert (await flow.pause(report.job_id)).state is JobState.PAUSED
        assert (await flow.resume(report.job_id)).state is JobState.RUNNING
        assert (await flow.follow(report.job_id)).state is JobState.FAILED
        assert await flow.discard(report.job_id) == 1
        assert await flow.failures() == []
        with pytest.raises(Conflict, match="no failure can be tried again"):
            await flow.retry()
        with pytest.raises(NotFound):
            await flow.discard(999)
        with pytest.raises(Conflict, match="is failed and cannot be cancelled"):
            await flow.cancel(report.job_id)
