# ruff: noqa: RUF001 - letters of many scripts look alike
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorflow.adapters import _minilm, _word_memory
from vectorflow.adapters._word_memory import WordMemory
from vectorflow.adapters.tokenizers.minilm import MiniLmTokenizer
from vectorflow.ports.tokenizer import TokenOffsets
from vectorflow.testing.chunkers import MULTILINGUAL, texts

MINILM = MiniLmTokenizer()


def _same(found: TokenOffsets, expected: TokenOffsets) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def _at_once(text: str) -> TokenOffsets:
    return MINILM.offsets_at_once(_minilm.encodable(text))


AWKWARD = st.text(
    st.sampled_from(
        " \t\n\r\x0b\x0c\x1c\x85\u00a0\u2028\u3000\0\x1b\u200b\u200d\ufffd"
        "aZ9ß_'.,<=|`~é\u0301\u0338≠≮\u1fef\u037e中〇𠀀한ﬁİΣς·'[CLS]👩🏽क्ि"
    ),
    max_size=40,
)


@given(text=st.one_of(texts(), AWKWARD, st.text(max_size=60)))
@settings(max_examples=600, deadline=None)
def test_words_that_are_remembered_have_the_tokens_they_have_at_once(text: str) -> None:
    expected = _at_once(text)

    assert _same(MINILM.offsets(text), expected)
    assert _same(MINILM.offsets(text), expected)
    assert MINILM.count(text) == len(expected.starts)


@pytest.mark.parametrize("letter", ["x", "中", ".", "\u0301", " ", "\x0b"])
def test_long_runs_are_no_exception(letter: str) -> None:
    text = "a" + letter * 5000 + "b " + letter * 99 + " c"

    assert _same(MINILM.offsets(text), _at_once(text))


def test_a_memory_that_is_full_begins_anew_and_gives_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_word_memory, "MAX_PIECES", 40)
    memory = WordMemory(MINILM.offsets_at_once)
    parts = MULTILINGUAL.encode("utf-8", "replace").decode().split("\n\n")

    for part in parts * 2:
        assert _same(memory.offsets(part), _at_once(part))

    assert memory.pieces < 200


def test_threads_may_learn_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_word_memory, "MAX_PIECES", 60)
    memory = WordMemory(MINILM.offsets_at_once)
    parts = [f"word{n % 90} and {part}" for n in range(40) for part in MULTILINGUAL.split("\n\n")]
    expected = [_at_once(part) for part in parts]

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(memory.offsets, parts))

    assert all(map(_same, found, expected))
