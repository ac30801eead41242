"""Crash points with a PostgreSQL ledger: what the dead process held is taken over by another.

The same points in an embedded ledger, and more of them, are in `test_kill_seams.py`.
"""

from pathlib import Path

import pytest

from tests.acceptance import corpus
from tests.acceptance.kill_site import Site
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LEASE = ["--lease", "2"]
"""Seconds; the settings allow no less than 30."""

LONG = "1/long.md"


@pytest.fixture
def site(tmp_path: Path, postgres_database: str) -> Site:
    database = Database(postgres_database)
    schema.upgrade(database)
    database.close()
    options = {"chunking.size": 16, "chunking.overlap": 0, "database.url": postgres_database}
    site = Site(root=tmp_path, options=options)
    site.write(corpus.made_texts(30, words=30))
    site.write({LONG: corpus.made_book(8)})
    return site


def embed_to_the_end(site: Site) -> None:
    process = site.start("embed", str(site.docs), flags=LEASE)
    assert process.wait() == 0, process.said()
    site.check()


@pytest.mark.parametrize(
    ("seam", "flags"),
    [
        ("commit:end_listing", []),  # accepted, and nobody was told
        ("commit:claim", []),  # leased, and nothing done
        ("commit:add_vectors", ["--paid"]),  # kept, and not stored
        ("transaction:finish.embed", []),  # stored, and not live
    ],
)
def test_a_first_embed_killed_anywhere_ends_complete(
    site: Site, seam: str, flags: list[str]
) -> None:
    site.run_killed(seam, flags=[*LEASE, *flags])

    embed_to_the_end(site)


def test_a_replacement_killed_after_its_flip_leaves_no_old_record(site: Site) -> None:
    embed_to_the_end(site)
    site.write({LONG: site.texts[LONG][:900]})

    site.run_killed("commit:finish.embed", flags=LEASE)

    embed_to_the_end(site)


def test_versions_of_one_document_from_many_jobs_end_with_the_last(site: Site) -> None:
    """Replaced by a shorter text, killed at the flip, replaced twice more, deleted, sent again."""
    embed_to_the_end(site)
    long = site.texts[LONG]
    site.write({LONG: long[:4000]})
    site.run_killed("transaction:finish.embed", flags=LEASE)
    for text in (long[:2500], long[:700]):
        site.write({LONG: text})
        site.run_killed("commit:end_listing", flags=LEASE)
    site.delete([LONG])
    site.run_killed("commit:end_listing", flags=LEASE)
    site.write({LONG: f"{long[:300]} The end."})

    embed_to_the_end(site)
