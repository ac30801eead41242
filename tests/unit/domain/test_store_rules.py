import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.domain.store_rules import (
    check_index_name,
    check_records,
    filter_terms,
    metadata_terms,
)
from vectorflow.errors import BadChunk, InvalidInput
from vectorflow.testing.records import EAST, records_of

scalars = st.one_of(
    st.text(max_size=5),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)
keys = st.text(alphabet='ab="\\', max_size=5)


def equal(one: object, other: object) -> bool:
    """Equality as JSON has it: true is not 1, but 1.0 is."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


@given(st.dictionaries(keys, scalars, max_size=3), keys, scalars)
def test_a_record_has_a_term_just_when_its_metadata_is_equal(
    metadata: dict[str, object], key: str, value: object
) -> None:
    (term,) = filter_terms({key: value})

    has = term in metadata_terms(json.dumps(metadata))

    assert has == (key in metadata and equal(metadata[key], value))


@given(keys, scalars)
def test_a_record_has_the_terms_of_its_own_metadata(key: str, value: object) -> None:
    assert metadata_terms(json.dumps({key: value})) == filter_terms({key: value})


def test_values_that_are_no_scalars_give_no_terms() -> None:
    assert metadata_terms('{"a": null, "b": [1], "c": {"d": 1}, "e": "f"}') == ['e="f"']


@pytest.mark.parametrize("metadata", ["", "{", "[]", "1"])
def test_metadata_that_is_no_json_object_is_refused(metadata: str) -> None:
    with pytest.raises(InvalidInput):
        metadata_terms(metadata)


def test_a_backslash_before_u0000_is_no_nul_character() -> None:
    fine = [{"path": "C:\\u0000"}, {"path": "\\\\u0000"}]
    check_records("docs", records_of([EAST, EAST], metadata=fine), 4)

    with pytest.raises(BadChunk) as refused:
        check_records("docs", records_of([EAST] * 2, metadata=[{}, {"path": "C:\\\0"}]), 4)
    assert refused.value.position == 1


def test_the_first_bad_row_is_named_without_quoting_its_text() -> None:
    vectors = np.ones((5, 4), dtype=np.float32)
    vectors[3, 1] = math.inf
    vectors[4, 0] = math.nan

    with pytest.raises(BadChunk) as refused:
        check_records("docs", records_of(vectors, texts=["secret"] * 5), 4)

    assert refused.value.position == 3
    assert "secret" not in str(refused.value)


def test_an_id_that_comes_twice_in_one_write_is_refused() -> None:
    records = records_of([EAST, EAST], ids=["00000000-0000-5000-8000-000000000000"] * 2)

    with pytest.raises(InvalidInput, match="twice"):
        check_records("docs", records, 4)


@given(st.text(max_size=120))
def test_an_index_name_that_passes_is_safe_as_a_file_name(name: str) -> None:
    try:
        check_index_name(name)
    except InvalidInput:
        return

    assert name.isascii()
    assert 1 <= len(name) <= 100
    assert not set(name) & set("/\\\"'`;: \n\0")
    assert name[0] not in "._"
