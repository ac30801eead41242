"""Killed at each seam of its way, the same command ends with exactly what was to be."""

from pathlib import Path

import pytest

from tests.acceptance import corpus
from tests.acceptance.kill_site import Site, Snapshot
from vectorflow.domain.jobs import JobState

pytestmark = pytest.mark.slow

SMALL_CHUNKS = {"chunking.size": 8, "chunking.overlap": 0}
"""So that a document of some hundred KB has several parts."""

LONG = "1/long.md"
CHAPTERS = 12
CHAPTERS_OF_TWO_PARTS = 90


def fresh_site(root: Path, chapters: int = CHAPTERS) -> Site:
    """Two listed groups, several batches, and a longer document."""
    site = Site(root=root, options=dict(SMALL_CHUNKS))
    site.write(corpus.made_texts(270, words=30))
    site.write({LONG: corpus.made_book(chapters)})
    return site


def embed_after_the_kill(site: Site) -> None:
    report = site.embed()
    assert report.status is JobState.COMPLETED, report
    site.check()


@pytest.mark.parametrize(
    ("seam", "nth"),
    [
        ("commit:start_job", 1),
        ("put:uploads", 1),
        ("transaction:add_documents", 2),
        ("commit:add_documents", 1),
        ("commit:add_documents", 2),
        ("transaction:end_listing", 1),
        ("commit:end_listing", 1),
        ("commit:claim", 1),
        ("commit:claim", 2),
        ("put:manifests", 1),
        ("put:manifests", 2),
        ("transaction:commit_parts", 1),
        ("commit:commit_parts", 1),
        ("commit:commit_parts", 2),
        ("transaction:finish.extract", 1),
        ("commit:finish.extract", 1),
        ("embedded", 1),
        ("embedded", 2),
        ("created", 1),
        ("upsert", 1),
        ("upserting", 1),
        ("upserting", 2),
        ("upserted", 1),
        ("upserted", 2),
        ("transaction:finish.embed", 1),
        ("commit:finish.embed", 1),
        ("commit:finish.embed", 2),
    ],
)
def test_a_first_embed_killed_anywhere_ends_complete(tmp_path: Path, seam: str, nth: int) -> None:
    site = fresh_site(tmp_path, CHAPTERS_OF_TWO_PARTS if "parts" in seam else CHAPTERS)

    site.run_killed(seam, nth)

    embed_after_the_kill(site)


@pytest.mark.parametrize("seam", ["put:vectors", "commit:add_vectors"])
def test_paid_vectors_survive_a_kill(tmp_path: Path, seam: str) -> None:
    site = fresh_site(tmp_path)

    site.run_killed(seam, 2, flags=["--paid"])

    embed_after_the_kill(site)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    site = fresh_site(tmp_path_factory.mktemp("embedded") / "site")
    site.embed()
    return Snapshot(site)


@pytest.mark.parametrize(
    ("seam", "nth"),
    [
        ("commit:add_documents", 1),
        ("transaction:delete_documents", 1),
        ("commit:delete_documents", 1),
        ("upserting", 1),
        ("transaction:finish.embed", 1),
        ("commit:finish.embed", 1),
        ("deleting", 1),
        ("deleting", 2),
        ("deleted", 1),
        ("deleted", 2),
        ("transaction:finish.retire", 1),
        ("commit:finish.retire", 1),
    ],
)
def test_an_update_killed_anywhere_ends_complete(embedded: Snapshot, seam: str, nth: int) -> None:
    site = embedded.restored()
    edit(site)

    site.run_killed(seam, nth)

    embed_after_the_kill(site)


@pytest.mark.parametrize(
    ("seam", "nth"),
    [
        ("transaction:reset_index", 1),
        ("commit:reset_index", 1),
        ("created", 1),
        ("upserting", 1),
        ("commit:finish.embed", 1),
    ],
)
def test_a_lost_store_is_filled_again_whenever_that_is_killed(
    embedded: Snapshot, seam: str, nth: int
) -> None:
    site = embedded.restored()
    edit(site)
    site.lose_store()

    site.run_killed(seam, nth)

    embed_after_the_kill(site)


@pytest.mark.parametrize(
    ("seam", "nth"),
    [("upsert", 1), ("upsert", 2), ("upserted", 1), ("upserted", 2), ("commit:finish.embed", 1)],
)
def test_a_store_that_vanishes_during_a_run_is_filled_again(
    tmp_path: Path, seam: str, nth: int
) -> None:
    site = fresh_site(tmp_path)

    flags = ["--remove", str(site.data / "vectors")]
    process = site.start("embed", str(site.docs), seam=seam, nth=nth, flags=flags)

    assert process.wait() == 0, process.said()
    embed_after_the_kill(site)


def edit(site: Site) -> None:
    """Change some documents, a part in the middle of the long one, delete some, add some."""
    names = sorted(set(site.texts) - {LONG})
    site.write({name: site.texts[name] + " One more sentence." for name in names[:6]})
    site.write({LONG: site.texts[LONG].replace("Willow", "Poplar")})
    site.delete(names[10:14])
    site.write(corpus.made_texts(4, seed="added", words=61) | {names[20]: "Another text."})
