from hypothesis import given
from hypothesis import strategies as st

from vectorflow.domain.packing import pack_by_length

lengths = st.lists(st.integers(0, 600), max_size=80)
limits = st.integers(1, 2000)
counts = st.integers(1, 40)


def packed(tokens: list[int], max_tokens: int, max_texts: int) -> list[list[int]]:
    packs = pack_by_length(tokens, max_tokens=max_tokens, max_texts=max_texts)
    return [pack.tolist() for pack in packs]


@given(lengths, limits, counts)
def test_every_text_is_in_exactly_one_request(
    tokens: list[int], max_tokens: int, max_texts: int
) -> None:
    packs = packed(tokens, max_tokens, max_texts)

    assert sorted(place for pack in packs for place in pack) == list(range(len(tokens)))
    assert all(packs)


@given(lengths, limits, counts)
def test_a_request_stays_within_its_limits_padding_included(
    tokens: list[int], max_tokens: int, max_texts: int
) -> None:
    for pack in packed(tokens, max_tokens, max_texts):
        longest = max(tokens[place] for place in pack)
        assert len(pack) <= max_texts
        assert len(pack) == 1 or len(pack) * longest <= max_tokens


@given(lengths, limits, counts)
def test_the_longest_texts_come_first(tokens: list[int], max_tokens: int, max_texts: int) -> None:
    order = [place for pack in packed(tokens, max_tokens, max_texts) for place in pack]

    assert [tokens[place] or 1 for place in order] == sorted(
        (count or 1 for count in tokens), reverse=True
    )


@given(lengths, limits, counts)
def test_no_request_has_room_for_the_first_text_of_the_next(
    tokens: list[int], max_tokens: int, max_texts: int
) -> None:
    packs = packed(tokens, max_tokens, max_texts)

    for pack in packs[:-1]:
        longest = max(tokens[place] or 1 for place in pack)
        assert len(pack) == max_texts or (len(pack) + 1) * longest > max_tokens


def test_a_text_beyond_the_limit_travels_alone() -> None:
    assert packed([5, 900, 5], max_tokens=100, max_texts=9) == [[1], [0, 2]]


def test_nothing_to_pack_makes_no_request() -> None:
    assert packed([], max_tokens=100, max_texts=9) == []
