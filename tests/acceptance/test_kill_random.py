"""Killed or stopped at any moment, what is embedded in the end is what lies on the disk."""

import random
import signal
import time
from pathlib import Path

import pytest

from tests.acceptance import corpus
from tests.acceptance.kill_site import Site
from vectorflow.domain.jobs import JobState, Outcome

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KILLS = 10
LONGEST_LIFE = 1.2
"""Seconds; an undisturbed run takes about as long."""


def begun_site(root: Path, **options: object) -> Site:
    site = Site(root=root, options={"chunking.size": 16, **options})
    site.write(corpus.made_texts(130))
    site.write({"1/book.md": corpus.made_book(60)})
    return site


def edit(site: Site, step: int) -> None:
    """Change, delete and add documents, others at each step."""
    names = sorted(site.texts)
    chance = random.Random(step)  # noqa: S311 - edits, not secrets
    for name in chance.sample(names, 6):
        site.write({name: f"{site.texts[name]} Edited at step {step}."})
    site.delete(chance.sample(names, 3))
    site.write(corpus.made_texts(3, seed=step, words=70 + step))


def strike(site: Site, number: signal.Signals, life: float) -> int:
    """Start a run, send it a signal after a while, and give its exit status."""
    process = site.start("embed", str(site.docs))
    time.sleep(life)
    process.send(number)
    return process.wait()


def test_killed_at_ten_random_moments_with_edits_between(tmp_path: Path) -> None:
    site = begun_site(tmp_path)
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets

    for step in range(KILLS):
        strike(site, signal.SIGKILL, chance.uniform(0, LONGEST_LIFE))
        edit(site, step)

    assert site.embed().status is JobState.COMPLETED
    site.check()


def test_stopped_at_random_moments_no_try_is_spent(tmp_path: Path) -> None:
    site = begun_site(tmp_path)
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets

    statuses = {strike(site, signal.SIGTERM, chance.uniform(0.2, LONGEST_LIFE)) for _ in range(5)}

    assert statuses <= {0, 130, -signal.SIGTERM}  # the last before or after all work
    assert site.embed().status is JobState.COMPLETED
    site.check()
    assert site.outcomes().keys() <= {Outcome.OK, Outcome.RELEASED}


def test_killed_with_the_local_model(tmp_path: Path) -> None:
    site = Site(root=tmp_path, options={"embedder": "local:all-MiniLM-L6-v2"})
    site.write(corpus.made_texts(40, words=150))

    for life in (0.4, 1.5, 2.5):
        strike(site, signal.SIGKILL, life)

    assert site.embed().status is JobState.COMPLETED
    site.check()
