import uuid
from collections.abc import Sequence

import pytest

from vectorflow.errors import HookRefused
from vectorflow.ports.hooks import Candidate, Valid
from vectorflow.service.cut import Stretch
from vectorflow.service.validate import validated

NAME = uuid.uuid4()


def stretch() -> Stretch:
    return Stretch(
        texts=["one", "two", "three"],
        starts=[0, 4, 8],
        ends=[3, 7, 13],
        tokens=[1, 1, 1],
        extras=[None, None, None],
        pages=[1, 1, 2],
        headings=["a", None, "b"],
        resume_at=14,
        size=11,
    )


def words(text: str) -> int:
    return len(text.split())


async def test_what_the_hook_leaves_out_is_left_out_and_the_rest_stays_in_place() -> None:
    async def keep(candidates: Sequence[Candidate]) -> Sequence[Valid]:
        return [
            Valid(chunk_id=one.chunk_id, text=one.text, extra={})
            for one in candidates
            if one.text != "two"
        ]

    found = await validated(stretch(), NAME, keep, words)

    assert found.texts == ["one", "three"]
    assert (found.starts, found.ends, found.pages) == ([0, 8], [3, 13], [1, 2])
    assert found.headings == ["a", "b"]
    assert found.resume_at == 14


async def test_a_changed_text_is_counted_anew_and_keys_are_kept_as_json() -> None:
    async def change(candidates: Sequence[Candidate]) -> Sequence[Valid]:
        first = candidates[0]
        return [
            Valid(chunk_id=first.chunk_id, text="now four words here", extra={"b": 1, "a": "ä"})
        ]

    found = await validated(stretch(), NAME, change, words)

    assert (found.texts, found.tokens) == (["now four words here"], [4])
    assert found.extras == ['{"a":"ä","b":1}']
    assert (found.starts, found.ends) == ([0], [3])


async def test_the_same_stretch_is_asked_about_under_the_same_ids() -> None:
    asked: list[list[str]] = []

    async def nothing(candidates: Sequence[Candidate]) -> Sequence[Valid]:
        asked.append([one.chunk_id for one in candidates])
        return []

    for name in (NAME, NAME, uuid.uuid4()):
        assert (await validated(stretch(), name, nothing, words)).texts == []

    assert asked[0] == asked[1]
    assert not set(asked[0]) & set(asked[2])
    assert len(set(asked[0])) == 3


async def test_a_refusal_is_passed_on() -> None:
    async def refuse(_candidates: Sequence[Candidate]) -> Sequence[Valid]:
        raise HookRefused("no")

    with pytest.raises(HookRefused):
        await validated(stretch(), NAME, refuse, words)
