import uuid
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.domain.manifests import BaseColumns, ChunkHashes, as_hashes, hash_chunks, record_id
from vectorflow.domain.planning import Plan, Planned

INCARNATION = uuid.UUID("12345678-1234-5678-1234-567812345678")
DOCUMENT = 7

# Few letters, so that chunks repeat; the record hash is of letter and metadata.
letters = st.text(alphabet="abcd", max_size=30)
edits = st.tuples(letters, letters)


def hashes_of(chunks: str, metadata: str = "") -> ChunkHashes:
    return hash_chunks(list(chunks), prefix="", metadata={"team": metadata}, fields={})


def base_of(hashes: ChunkHashes, planned: Planned) -> BaseColumns:
    return BaseColumns(
        input_hash=as_hashes(hashes.inputs),
        record_hash=as_hashes(hashes.records),
        record_id=np.array(planned.record_ids, dtype=object),
        first_version=np.array(planned.first_versions, dtype=np.int32),
    )


NOTHING = base_of(ChunkHashes([], []), Planned(record_ids=[], first_versions=[], vector_of=[]))


def plan_against(base: BaseColumns, version: int) -> Plan:
    return Plan(incarnation=INCARNATION, document=DOCUMENT, version=version, base=base)


def versions_of(texts: Sequence[str], metadata: str = "") -> tuple[BaseColumns, Planned]:
    """Plan versions 1, 2, … of one document, each against the one before."""
    base = NOTHING
    planned = Planned(record_ids=[], first_versions=[], vector_of=[])
    for number, text in enumerate(texts, start=1):
        hashes = hashes_of(text, metadata)
        planned = plan_against(base, number).match(0, hashes)
        base = base_of(hashes, planned)
    return base, planned


def in_parts(plan: Plan, hashes: ChunkHashes, cuts: Sequence[int]) -> Planned:
    whole = Planned(record_ids=[], first_versions=[], vector_of=[])
    edges = [0, *sorted(cut % (len(hashes.records) + 1) for cut in cuts), len(hashes.records)]
    for start, end in pairwise(edges):
        part = ChunkHashes(hashes.inputs[start:end], hashes.records[start:end])
        planned = plan.match(start, part)
        whole.record_ids.extend(planned.record_ids)
        whole.first_versions.extend(planned.first_versions)
        whole.vector_of.extend(planned.vector_of)
    return whole


@given(letters)
def test_a_first_version_is_all_new(text: str) -> None:
    _, planned = versions_of([text])

    assert planned.new_rows(1) == len(text)
    assert planned.vector_of == [None] * len(text)
    assert len(set(planned.record_ids)) == len(text)


@given(letters)
def test_an_equal_document_keeps_every_record_in_its_place(text: str) -> None:
    _, first = versions_of([text])
    _, second = versions_of([text, text])

    assert second == first
    assert second.new_rows(2) == 0


@given(edits)
def test_as_many_records_are_kept_as_chunks_are_in_both_versions(texts: tuple[str, str]) -> None:
    old, new = texts
    base, _ = versions_of([old])
    _, planned = versions_of([old, new])

    kept = Counter(
        chunk for chunk, first in zip(new, planned.first_versions, strict=True) if first == 1
    )

    assert kept == Counter(old) & Counter(new)
    assert planned.new_rows(2) == len(new) - kept.total()
    kept_ids = [
        key for key, v in zip(planned.record_ids, planned.first_versions, strict=True) if v == 1
    ]
    assert set(kept_ids) <= set(base.record_id)


@given(st.lists(letters, min_size=1, max_size=5))
def test_no_id_serves_two_chunks_and_none_comes_back(texts: list[str]) -> None:
    seen: set[str] = set()
    before: set[str] = set()
    for number in range(1, len(texts) + 1):
        _, planned = versions_of(texts[:number])
        ids = set(planned.record_ids)
        assert len(ids) == len(planned.record_ids)
        assert not ids & (seen - before)  # what a version dropped is never used again
        seen |= ids
        before = ids


@given(edits)
def test_equal_chunks_keep_their_records_in_order(texts: tuple[str, str]) -> None:
    old, new = texts
    base, _ = versions_of([old])
    _, planned = versions_of([old, new])
    place = {key: row for row, key in enumerate(base.record_id)}

    for letter in set(new):
        rows = [
            place[key]
            for chunk, key in zip(new, planned.record_ids, strict=True)
            if chunk == letter and key in place
        ]
        assert rows == sorted(rows)
        assert all(old[row] == letter for row in rows)


@given(edits)
def test_planning_again_gives_the_same_plan(texts: tuple[str, str]) -> None:
    assert versions_of(texts)[1] == versions_of(texts)[1]


@given(edits, st.lists(st.integers(0, 30), max_size=5))
def test_cutting_into_parts_changes_nothing(texts: tuple[str, str], cuts: list[int]) -> None:
    old, new = texts
    base, _ = versions_of([old])
    hashes = hashes_of(new)

    assert in_parts(plan_against(base, 2), hashes, cuts) == plan_against(base, 2).match(0, hashes)


@given(edits, st.integers(0, 30))
def test_a_plan_that_was_interrupted_goes_on_as_if_it_had_not_been(
    texts: tuple[str, str], cut: int
) -> None:
    old, new = texts
    base, _ = versions_of([old])
    hashes = hashes_of(new)
    cut %= len(new) + 1
    whole = plan_against(base, 2).match(0, hashes)

    resumed = plan_against(base, 2)
    resumed.resume(whole.record_ids[:cut])
    rest = resumed.match(cut, ChunkHashes(hashes.inputs[cut:], hashes.records[cut:]))

    assert rest.record_ids == whole.record_ids[cut:]
    assert rest.first_versions == whole.first_versions[cut:]
    assert rest.vector_of == whole.vector_of[cut:]


@given(edits)
def test_where_only_the_metadata_changed_vectors_are_copied(texts: tuple[str, str]) -> None:
    old, new = texts
    base, _ = versions_of([old], metadata="red")

    planned = plan_against(base, 2).match(0, hashes_of(new, metadata="blue"))

    chunk_of = dict(zip(base.record_id, old, strict=True))
    assert planned.new_rows(2) == len(new)
    for chunk, source in zip(new, planned.vector_of, strict=True):
        assert (source is None) == (chunk not in old)
        assert source is None or chunk_of[source] == chunk


@given(edits)
def test_kept_records_take_no_vector_from_elsewhere(texts: tuple[str, str]) -> None:
    _, planned = versions_of(texts)

    for first, source in zip(planned.first_versions, planned.vector_of, strict=True):
        assert first == 2 or source is None


names = st.tuples(
    st.uuids(),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 9),
    st.binary(min_size=16, max_size=16),
)


@given(st.lists(names, min_size=2, max_size=2, unique=True))
def test_a_record_id_is_a_uuid_of_everything_it_names(
    two: list[tuple[uuid.UUID, int, int, int, bytes]],
) -> None:
    first, second = (record_id(*name) for name in two)

    assert first != second
    assert first == record_id(*two[0])
    assert str(uuid.UUID(first)) == first
    assert uuid.UUID(first).version == 5


@given(st.text(), st.text(), st.text(), st.text())
def test_hashes_tell_texts_and_prefixes_apart(a: str, b: str, prefix: str, other: str) -> None:
    one = hash_chunks([a, b], prefix=prefix, metadata={}, fields={})
    two = hash_chunks([a], prefix=other, metadata={}, fields={})

    assert (one.inputs[0] == one.inputs[1]) == (a == b) == (one.records[0] == one.records[1])
    assert (one.records[0] == two.records[0]) == (prefix == other)
    assert prefix == other or one.inputs[0] != two.inputs[0]


@given(st.lists(st.text(), max_size=4))
def test_metadata_and_fields_are_in_the_record_hash_alone(texts: list[str]) -> None:
    plain = hash_chunks(texts, prefix="", metadata={}, fields={})
    tagged = hash_chunks(texts, prefix="", metadata={"team": "red"}, fields={})
    mapped = hash_chunks(texts, prefix="", metadata={}, fields={"text": "body"})

    assert plain.inputs == tagged.inputs == mapped.inputs
    assert not set(plain.records) & set(tagged.records)
    assert not set(plain.records) & set(mapped.records)
    assert not set(tagged.records) & set(mapped.records)
