# ruff: noqa: RUF001 - the characters that end sentences look alike
from itertools import pairwise

import pytest

from vectorflow.adapters._text_cuts import choose, paragraphs, sentences, splits_character


def _parted(text: str) -> list[str]:
    places = [0, *sentences(text, 0, len(text)), len(text)]
    return [text[a:b].strip() for a, b in pairwise(places)]


@pytest.mark.parametrize(
    "expected",
    [
        ["It works.", "Does it?", "It does!", "“So be it.”", "Well…", "Good."],
        ["Dr. Who paid 3.14 to J. Doe, i.e. Tom, etc. and left.", "See Fig. 2 below."],
        ["1. First item.", "He came in 1984.", "Then he left."],
        ["Write to a.b@example.org or v1.2.3 today.", "Bye."],
        ["أليس كذلك؟", "بلى."],
        ["उन्हें बुद्धि प्राप्त है।", "हाँ।"],
    ],
)
def test_sentences_end_where_a_reader_ends_them(expected: list[str]) -> None:
    assert _parted(" ".join(expected)) == expected


def test_scripts_without_spaces_have_sentences_too() -> None:
    assert _parted("这是什么？「一本书。」好！") == ["这是什么？", "「一本书。」", "好！"]


@pytest.mark.parametrize("gap", ["\n\n", "\r\n\r\n", "\n \t\n", "\r\r", "\u2029", "\n\n\n\n  "])
def test_a_blank_line_parts_paragraphs(gap: str) -> None:
    text = f"one\ntwo{gap}three\r\nfour"

    assert [text[at:] for at in paragraphs(text, 0, len(text))] == ["three\r\nfour"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("e", "\u0301"),
        ("\r", "\n"),
        ("👩\u200d", "👧"),
        ("👍", "🏽"),
        ("क", "्"),
        ("ᄀ", "ᅡ"),
        ("\ud83d", "\ude00"),
    ],
)
def test_what_readers_see_as_one_character_is_not_parted(before: str, after: str) -> None:
    assert splits_character(before + after, len(before))


@pytest.mark.parametrize(("before", "after"), [("e", "f"), ("\n", "\r"), ("日", "本"), ("", "a")])
def test_other_characters_may_be_parted(before: str, after: str) -> None:
    assert not splits_character(before + after, len(before))


def test_only_the_text_near_a_place_decides() -> None:
    text = " ".join(f"word{number}" for number in range(200))
    near = [at for at in range(400, 600) if text[at - 1] == " "]

    assert choose("x" * 77 + text, (at + 77 for at in near)) == (choose(text, near) or 0) + 77
    assert choose(text, []) is None
