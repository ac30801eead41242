"""Uploads that come at once: what many statements made of one, a dozen make of many."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.errors import Conflict
from vectorflow.ledger import uploads
from vectorflow.ledger.new_versions import Accepted
from vectorflow.ledger.submission import NewJob
from vectorflow.ledger.uploads import Taken
from vectorflow.testing.ledgers import broken_laws, rows
from vectorflow.testing.workplace import (
    PIPELINE,
    PretendWorker,
    Workplace,
    claim,
    document,
)


def take(place: Workplace, *sent: tuple[NewJob, Accepted]) -> list[Taken]:
    return place.database.write_now(partial(uploads.take_uploads, uploads=sent))


def upload(
    place: Workplace, name: str, text: str = "text", *, key: str | None = None
) -> tuple[NewJob, Accepted]:
    return place.new_job(key=key), document(name, text)


def kept_anew(item: Accepted) -> Accepted:
    """The same document, sent once more."""
    assert item.source is not None
    return replace(item, source=replace(item.source, blob=f"{item.source.blob}2"))


async def test_each_upload_has_a_job_of_its_own_and_a_batch_of_its_own(place: Workplace) -> None:
    taken = take(place, upload(place, "a"), upload(place, "b"))

    leases = await claim(place.worker("here"))
    assert [[one.external_id for one in lease.versions] for lease in leases] == [["a"], ["b"]]
    assert [lease.job.id for lease in leases] == [one.job for one in taken]
    for one in taken:
        view = place.job(one.job)
        assert (view.state, view.docs_total, view.documents_new) == (JobState.RUNNING, 1, 1)
        assert (one.kept, one.batches) == (True, None)


async def test_a_document_that_is_live_as_it_is_needs_nothing_and_its_job_has_ended(
    place: Workplace,
) -> None:
    take(place, upload(place, "a"), upload(place, "b"))
    await PretendWorker(place.worker("here")).run()

    same, changed = take(place, upload(place, "a"), upload(place, "b", "other"))

    assert (same.kept, same.batches) == (False, 1)
    view = place.job(same.job)
    assert (view.state, view.docs_total, view.documents_unchanged) == (JobState.COMPLETED, 0, 1)
    assert view.ended_at is not None
    assert (changed.kept, place.job(changed.job).documents_changed) == (True, 1)
    assert broken_laws(place.database) == {}


async def test_two_versions_of_one_document_at_once_are_one_after_the_other(
    place: Workplace,
) -> None:
    first, second, third = take(
        place, upload(place, "a", "1"), upload(place, "a", "2"), upload(place, "a", "3")
    )
    await PretendWorker(place.worker("here")).run()

    states = [place.job(one.job).state for one in (first, second, third)]
    assert states == [JobState.COMPLETED] * 3
    numbers = "SELECT number, state FROM versions ORDER BY number"
    assert rows(place.database, numbers) == [(1, "retired"), (2, "superseded"), (3, "live")]
    assert broken_laws(place.database, all_done=True) == {}


def test_the_same_request_twice_at_once_is_one_job(place: Workplace) -> None:
    sent = upload(place, "a", key="once")
    again = sent[0], kept_anew(sent[1])

    first, second = take(place, sent, again)
    [third] = take(place, again)

    assert {one.job for one in (first, second, third)} == {first.job}
    assert [one.kept for one in (first, second, third)] == [True, False, False]


def test_an_upload_whose_commit_was_not_heard_of_is_kept(place: Workplace) -> None:
    """The transaction runs again, and finds its own job under the key."""
    sent = upload(place, "a", key="once")

    [first] = take(place, sent)
    [second] = take(place, sent)

    assert (second.job, second.kept) == (first.job, True)


def test_another_request_under_a_key_is_refused_and_nothing_is_made(place: Workplace) -> None:
    new, item = upload(place, "a", key="once")
    take(place, (new, item))

    other = replace(new, request_hash="another"), document("b", "text")
    with pytest.raises(Conflict):
        take(place, upload(place, "c"), other)

    assert rows(place.database, "SELECT external_id FROM documents") == [("a",)]


def test_what_came_with_a_request_is_kept_until_its_job_ends(place: Workplace) -> None:
    new, item = upload(place, "a")

    take(place, (replace(new, sealed="sealed"), item))

    assert rows(place.database, "SELECT sealed FROM credentials") == [("sealed",)]


async def test_vectors_that_are_delivered_are_new_whatever_came_before(place: Workplace) -> None:
    pipeline = replace(PIPELINE, store="webhook://example.org", index="delivered")
    new = replace(place.new_job(), index=None, pipeline=pipeline, document_id="doc-7")

    one, two = take(place, (new, document("a", "text")), (new, document("a", "text")))

    leases = await claim(place.worker("here"))
    assert [lease.job.document_id for lease in leases] == ["doc-7", "doc-7"]
    assert len({lease.index.id for lease in leases}) == 2
    assert one.kept
    assert two.kept
    await PretendWorker(place.worker("there")).run(BatchKind.RETIRE)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sent=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("12"), st.sampled_from([None, "k", "l"])),
        max_size=8,
    )
)
def test_together_or_one_by_one_uploads_end_alike(
    place: Workplace, sent: Sequence[tuple[str, str, str | None]]
) -> None:
    """A key stands for one request: the first that came with it."""
    first: dict[str, tuple[str, str]] = {}
    wanted = [
        (*first.setdefault(key or f"{at}", (name, text)), key)
        for at, (name, text, key) in enumerate(sent)
    ]
    prefix = str(len(rows(place.database, "SELECT id FROM jobs")))
    made = [
        upload(place, f"{prefix}-{name}", text, key=key and f"{prefix}-{key}")
        for name, text, key in wanted
    ]

    taken = take(place, *made)

    keys = {key for _, _, key in wanted if key}
    plain = sum(key is None for _, _, key in wanted)
    assert len({one.job for one in taken}) == len(keys) + plain
    assert broken_laws(place.database) == {}
