"""Several processes on one data directory: one works for all, and is replaced when it dies."""

import signal
from pathlib import Path

import pytest

from tests.acceptance import corpus
from tests.acceptance.kill_site import Site
from vectorflow.domain.jobs import JobState

pytestmark = pytest.mark.slow

SOONER_THAN_A_LEASE = 45.0
"""Seconds; a lease has 60."""


def two_folders(root: Path) -> tuple[Site, Site]:
    """Two folders with the same names in them, and one data directory."""
    sites = Site(root=root), Site(root=root, folder="others")
    for number, site in enumerate(sites):
        site.write(corpus.made_texts(150, seed=number))
    return sites


def test_two_commands_at_once_see_everything(tmp_path: Path) -> None:
    first, second = two_folders(tmp_path)

    processes = [site.start("embed", str(site.docs)) for site in (first, second)]

    assert [process.wait() for process in processes] == [0, 0]
    first.check(second.texts)


def test_two_commands_on_the_same_folder_do_its_work_once(tmp_path: Path) -> None:
    site, _ = two_folders(tmp_path)

    processes = [site.start("embed", str(site.docs)) for _ in range(2)]

    assert [process.wait() for process in processes] == [0, 0]
    site.check()
    assert site.embed().records == site.chunks_embedded()


@pytest.mark.parametrize("seam", ["commit:claim", "upserting", "commit:finish.embed"])
def test_the_work_of_a_killed_neighbour_is_taken_over_at_once(tmp_path: Path, seam: str) -> None:
    first, second = two_folders(tmp_path)
    holder = first.start("embed", str(first.docs), seam=seam)
    neighbour = second.start("embed", str(second.docs))

    assert holder.wait() == -signal.SIGKILL
    assert neighbour.wait(SOONER_THAN_A_LEASE) == 0

    assert first.embed().status is JobState.COMPLETED
    first.check(second.texts)
