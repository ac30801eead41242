import uuid

from hypothesis import given
from hypothesis import strategies as st

from vectorflow.domain.known_ids import KnownIds

ids = st.uuids().map(str)


@given(st.lists(st.lists(ids, max_size=20), max_size=10), st.data())
def test_an_id_that_was_added_is_always_known(writes: list[list[str]], data: st.DataObject) -> None:
    known = KnownIds()
    for write in writes:
        known.add(write)
    added = [one for write in writes for one in write]

    some = data.draw(st.lists(st.sampled_from(added), min_size=1)) if added else []

    assert known.may_hold_any(some) == bool(some)
    assert all(known.may_hold_any([one]) for one in added)


def test_new_ids_are_told_from_a_hundred_thousand_old_ones() -> None:
    old = [str(uuid.uuid5(uuid.NAMESPACE_OID, f"old {number}")) for number in range(100_000)]
    new = [str(uuid.uuid5(uuid.NAMESPACE_OID, f"new {number}")) for number in range(10_000)]
    known = KnownIds()
    for start in range(0, len(old), 5_000):
        known.add(old[start : start + 5_000])

    assert not known.may_hold_any(new)
    assert known.may_hold_any([*new, old[77_777]])
    assert not known.may_hold_any([])
