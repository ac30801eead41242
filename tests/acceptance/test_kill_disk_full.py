"""A full disk gives one clear error, and nothing half done; with room again all goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance import corpus
from tests.acceptance.disks import SIZE, fill, small_disk
from tests.acceptance.kill_site import Site
from vectorflow.domain.jobs import JobState

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    with small_disk(tmp_path) as mounted:
        yield mounted


def site_on(disk: Path) -> Site:
    """A site whose data directory is on that disk; it takes some 20 MB to embed its documents."""
    site = Site(
        root=disk.parent,
        options={"data_dir": disk / "data", "chunking.size": 16, "blobs.free_floor_bytes": 0},
    )
    site.write(corpus.made_texts(130))
    site.write({f"book-{number}.md": corpus.made_book(50) for number in range(3)})
    return site


def test_below_the_floor_nothing_is_accepted(disk: Path) -> None:
    site = site_on(disk)
    site.options["blobs.free_floor_bytes"] = SIZE * 2

    process = site.start("embed", str(site.docs))

    assert process.wait() == 1
    assert process.errors() == 1
    site.options["blobs.free_floor_bytes"] = 0
    assert site.embed().status is JobState.COMPLETED
    site.check()


@pytest.mark.parametrize("free", [100 << 10, 600 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20])
def test_a_disk_that_fills_up_ends_the_command_and_loses_nothing(disk: Path, free: int) -> None:
    site = site_on(disk)
    filler = fill(disk, free=free)

    process = site.start("embed", str(site.docs))

    assert process.wait() == 1, process.said()
    assert process.errors() == 1, process.said()
    filler.unlink()
    assert site.embed().status is JobState.COMPLETED
    site.check()
