"""Three hundred real text files, kept in step with what lies on the disk."""

from pathlib import Path

import pytest

from tests.acceptance import corpus
from tests.acceptance.kill_site import Site, Snapshot
from vectorflow.domain.jobs import JobState
from vectorflow.flow import EmbedOptions

pytestmark = pytest.mark.slow

FILES = 300
NEW_CHUNKS_OF_A_SENTENCE = 4
"""Chunks that one more sentence may change, at most."""


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    site = Site(root=tmp_path_factory.mktemp("real") / "site")
    site.write(corpus.real_texts(FILES))
    report = site.embed()
    assert (report.status, report.new, report.failed) == (JobState.COMPLETED, FILES, 0)
    site.check()
    return Snapshot(site)


def test_the_same_again_calls_no_model_and_writes_nothing(embedded: Snapshot) -> None:
    site = embedded.restored()
    before = files_of(site.data / "vectors")

    report = site.embed()

    assert (report.status, report.unchanged) == (JobState.COMPLETED, FILES)
    assert (report.embedding_calls, report.chunks_embedded) == (0, 0)
    assert files_of(site.data / "vectors") == before
    site.check()


def test_the_work_is_in_proportion_to_what_changed(embedded: Snapshot) -> None:
    site = embedded.restored()
    names = sorted(site.texts)
    changed = names[10:250:80]
    site.write({name: with_a_sentence(site.texts[name]) for name in changed})
    site.delete(names[100:102])

    report = site.embed()

    assert (report.changed, report.gone, report.unchanged) == (3, 2, FILES - 5)
    assert len(changed) <= report.chunks_embedded <= NEW_CHUNKS_OF_A_SENTENCE * len(changed)
    assert report.records_new == report.chunks_embedded
    site.check()


def test_a_lost_store_is_filled_again(embedded: Snapshot) -> None:
    site = embedded.restored()
    records = site.embed().records
    site.lose_store()

    report = site.embed()

    assert report.status is JobState.COMPLETED
    assert report.records == records
    site.check()


def test_new_metadata_is_written_without_embedding(embedded: Snapshot) -> None:
    site = embedded.restored()

    report = site.embed(EmbedOptions(metadata={"team": "hr"}))

    assert (report.status, report.changed) == (JobState.COMPLETED, FILES)
    assert (report.embedding_calls, report.chunks_embedded) == (0, 0)
    assert report.records_new == report.records == report.records_old
    site.check()


def test_a_scope_never_touches_the_same_paths_of_another(embedded: Snapshot) -> None:
    site = embedded.restored()
    names = sorted(site.texts)[:20]
    others = {name: corpus.made_text(name, 80) for name in names}
    other = Site(root=site.root, texts=dict(others), folder="others")
    corpus.write(other.docs, others)

    other.embed()
    site.delete(names[:3])
    site.embed()
    other.delete(names[5:7])
    other.embed()

    site.check(other.texts)


def with_a_sentence(text: str) -> str:
    """Add a sentence in the middle, between two lines."""
    middle = text.index("\n", len(text) // 2)
    return f"{text[:middle]}\nThis sentence was not here before.{text[middle:]}"


def files_of(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file with its size and the time of its last change."""
    found = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return {path: (status.st_size, status.st_mtime_ns) for path, status in found}
