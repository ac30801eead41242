import re
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.adapters import _minilm
from vectorflow.adapters.tokenizers.minilm import MiniLmTokenizer
from vectorflow.adapters.tokenizers.words import WordTokenizer
from vectorflow.domain.documents import content_hash
from vectorflow.errors import Permanent
from vectorflow.ports.tokenizer import Tokenizer
from vectorflow.testing.tokenizers import TEXTS

MINILM = MiniLmTokenizer()
WORDS = WordTokenizer()


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    starts, ends = tokenizer.offsets(text)
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]


def golden(tokenizer: Tokenizer) -> str:
    """What all texts of the suite are cut to, as a hash."""
    offsets = [np.stack(tokenizer.offsets(text)).astype("<i4").tobytes() for text in TEXTS]
    return content_hash(b"".join(offsets))


def test_minilm_cuts_words_into_the_models_word_pieces() -> None:
    assert pieces(MINILM, "Tokenization isn't easy") == [
        "Token",
        "ization",
        "isn",
        "'",
        "t",
        "easy",
    ]


def test_minilm_takes_accents_off_without_losing_its_place() -> None:
    assert pieces(MINILM, "Ångström à la mode") == ["Ång", "ström", "à", "la", "mode"]


def test_minilm_reads_a_control_token_as_brackets_and_letters() -> None:
    assert pieces(MINILM, "a[SEP]b") == ["a", "[", "SEP", "]", "b"]


def test_minilm_refuses_a_changed_tokenizer_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_minilm, "TOKENIZER_SHA256", "0" * 64)

    with pytest.raises(Permanent, match="was changed; reinstall"):
        MiniLmTokenizer()


def test_the_vendored_tokenizer_comes_with_its_notice() -> None:
    notice = resources.files(_minilm).joinpath("NOTICE").read_text()

    assert "all-MiniLM-L6-v2" in notice
    assert "Apache License" in notice


def test_words_are_letters_digits_and_marks() -> None:
    assert pieces(WORDS, "Hello, world_2! 中文") == ["Hello", ",", "world_2", "!", "中文"]


def test_a_run_without_spaces_counts_as_several_words() -> None:
    assert pieces(WORDS, "x" * 40) == ["x" * 16, "x" * 16, "x" * 8]


def test_the_output_of_minilm_changes_only_with_its_revision() -> None:
    assert (MiniLmTokenizer.revision, golden(MINILM)) == (1, "0ddb76a8f2ac4eb22e5b3e342fb3ac81")


def test_the_output_of_words_changes_only_with_its_revision() -> None:
    assert (WordTokenizer.revision, golden(WORDS)) == (1, "f2ce31067baf0ca59a5d60829df8eac0")


@given(st.text(st.characters(codec=None, exclude_categories=())))
@pytest.mark.parametrize("tokenizer", [MINILM, WORDS], ids=["minilm", "words"])
def test_offsets_of_any_text_ascend_inside_it(tokenizer: Tokenizer, text: str) -> None:
    starts, ends = tokenizer.offsets(text)

    bounds = np.stack([starts, ends])
    assert (bounds >= 0).all()
    assert (bounds <= len(text)).all()
    assert (starts <= ends).all()
    assert (np.diff(bounds, axis=1) >= 0).all()


@given(st.lists(st.from_regex(re.compile(r"[a-z]{1,12}", re.ASCII), fullmatch=True), min_size=1))
@pytest.mark.parametrize("tokenizer", [MINILM, WORDS], ids=["minilm", "words"])
def test_joined_words_have_the_tokens_of_the_words(tokenizer: Tokenizer, words: list[str]) -> None:
    alone = [piece for word in words for piece in pieces(tokenizer, word)]

    assert pieces(tokenizer, " ".join(words)) == alone
