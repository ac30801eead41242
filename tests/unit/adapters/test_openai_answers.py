import base64
from collections.abc import Mapping

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.adapters._openai_answers import error_of_answer, matrix_of_answer, most_bytes
from vectorflow.domain.records import Matrix
from vectorflow.errors import Unavailable
from vectorflow.testing.provider import vector_of

ROWS = np.stack([vector_of(text, 8) for text in ("one", "two", "three")])


def packed(row: Matrix) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


def answer(rows: Matrix, *, as_numbers: bool = False, **changes: object) -> bytes:
    """An answer with these vectors; `changes` go into its last row."""
    data: list[dict[str, object]] = [
        {"index": at, "embedding": row.tolist() if as_numbers else packed(row)}
        for at, row in enumerate(rows)
    ]
    data[-1] |= changes
    return orjson.dumps({"object": "list", "data": data})


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5), st.sampled_from([1, 7, 8, 9, 384]))
def test_base64_and_numbers_give_equal_matrices(texts: list[str], dimensions: int) -> None:
    expected = np.stack([vector_of(text, dimensions) for text in texts])

    from_base64 = matrix_of_answer(answer(expected), len(texts), dimensions)
    from_numbers = matrix_of_answer(answer(expected, as_numbers=True), len(texts), dimensions)

    assert from_base64.dtype == from_numbers.dtype == np.float32
    np.testing.assert_array_equal(from_base64, expected)
    np.testing.assert_array_equal(from_numbers, expected)


@given(st.permutations(range(5)))
def test_any_order_is_put_right(order: list[int]) -> None:
    expected = np.stack([vector_of(str(at), 8) for at in range(5)])
    data = [{"index": at, "embedding": packed(expected[at])} for at in order]

    found = matrix_of_answer(orjson.dumps({"data": data}), 5, 8)

    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("as_numbers", [False, True])
def test_vectors_that_are_not_one_long_are_made_so(*, as_numbers: bool) -> None:
    longer = ROWS * np.array([[1.0], [3.0], [0.5]], dtype=np.float32)

    found = matrix_of_answer(answer(longer, as_numbers=as_numbers), 3, 8)

    np.testing.assert_array_equal(found[0], ROWS[0])
    np.testing.assert_allclose(found, ROWS, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"index": 0}, "which vector is whose"),
        ({"index": 3}, "which vector is whose"),
        ({"index": -1}, "which vector is whose"),
        ({"index": None}, "which vector is whose"),
        ({"index": "2"}, "which vector is whose"),
        ({"embedding": packed(ROWS[2, :7])}, "has not 8 dimensions"),
        ({"embedding": ""}, "has not 8 dimensions"),
        ({"embedding": "!" + packed(ROWS[2])[1:]}, "not base64"),
        ({"embedding": "é" + packed(ROWS[2])[1:]}, "not base64"),
        ({"embedding": None}, "no list of numbers|has not 8 dimensions"),
        ({"embedding": packed(ROWS[2] * np.float32(np.nan))}, "not finite"),
        ({"embedding": packed(ROWS[2] * np.float32(np.inf))}, "not finite"),
        ({"embedding": packed(ROWS[2] * np.float32(1e30))}, "not finite"),
        ({"embedding": packed(np.zeros(8, np.float32))}, "nothing but zeros"),
    ],
)
def test_a_malformed_answer_is_named_without_showing_it(
    changes: Mapping[str, object], says: str
) -> None:
    with pytest.raises(Unavailable, match=says) as caught:
        matrix_of_answer(answer(ROWS, **changes), 3, 8)

    assert packed(ROWS[2])[1:] not in str(caught.value)


@pytest.mark.parametrize(
    "embedding", [[1.0] * 7, [[1.0] * 8], ["x"] * 8, {}, [None] * 8, 1.0, [1e300] * 8, [{}] * 8]
)
def test_numbers_that_are_no_vector_are_malformed(embedding: object) -> None:
    data = [{"index": 0, "embedding": embedding}]

    with pytest.raises(Unavailable):
        matrix_of_answer(orjson.dumps({"data": data}), 1, 8)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"data"',
        b'{"data":null}',
        b'{"data":[1,2,3]}',
        b'{"data":[{"index":0},{"index":1},{"index":2}]}',
        b'{"data":{"index":0}}',
        b'{"data":[NaN]}',
        b"\xff\xfe",
    ],
)
def test_what_is_not_of_openais_form_is_malformed(body: bytes) -> None:
    with pytest.raises(Unavailable, match=r"cut short or not of OpenAI's form|for 3 texts"):
        matrix_of_answer(body, 3, 8)


@given(st.integers(0, 2000))
def test_an_answer_cut_anywhere_is_never_taken(at: int) -> None:
    whole = answer(ROWS)

    with pytest.raises(Unavailable):
        matrix_of_answer(whole[: at % len(whole)], 3, 8)


def test_the_most_bytes_leave_room_for_long_numbers() -> None:
    rows = np.full((10, 64), -1.1754943508222875e-38, dtype=np.float64)

    assert len(answer(rows, as_numbers=True)) < most_bytes(10, 64)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error":{"code":"x"}}', {"code": "x"}),
        (b'{"error":"a sentence"}', {"message": "a sentence"}),
        (b'{"message":"a sentence","code":413}', {"message": "a sentence", "code": 413}),
        (b'{"error":null}', {"message": None}),
        (b"[1]", {}),
        (b"<html>", {}),
        (b"", {}),
    ],
)
def test_errors_are_found_in_the_forms_that_servers_use(
    body: bytes, expected: Mapping[str, object]
) -> None:
    assert error_of_answer(body) == expected
