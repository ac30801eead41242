"""What every tokenizer must do."""

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vectorflow.ports.tokenizer import Tokenizer

PROSE = (
    "The quick brown fox, aged 7, didn't jump over the lazy dog.\n\nTwo paragraphs later: nothing."
)

TEXTS = (
    PROSE,
    "a",
    "naïve café, Ångström; e\u0301 with a combining accent",
    "中文字符 and 日本語 with 한국어",
    "emoji 👩‍👩‍👧 and flags 🇫🇷 beyond the first plane 𠀀𠀁",
    "tabs\tand\r\nline ends \u00a0 and \u3000 wide spaces",
    "x" * 1000,
    "control \x00 and \x1b characters",
    "a lone surrogate \ud800 in the middle",
    "Control tokens: [CLS] [SEP] [MASK] [UNK] [PAD] <s> </s> <|endoftext|>",
)


class TokenizerSuite(ABC):
    """Subclass it in your tests, and say in `tokenizer` how yours is made."""

    @pytest.fixture
    @abstractmethod
    def tokenizer(self) -> Tokenizer:
        """Give the tokenizer under test."""

    def test_a_sentence_has_about_as_many_tokens_as_words(self, tokenizer: Tokenizer) -> None:
        starts, _ = tokenizer.offsets(PROSE)

        assert 14 <= len(starts) <= len(PROSE)

    def test_offsets_are_int32_and_as_many_starts_as_ends(self, tokenizer: Tokenizer) -> None:
        starts, ends = tokenizer.offsets(PROSE)

        assert starts.dtype == ends.dtype == np.int32
        assert starts.shape == ends.shape == (len(starts),)

    @pytest.mark.parametrize("text", TEXTS)
    def test_tokens_ascend_and_lie_inside_the_text(self, tokenizer: Tokenizer, text: str) -> None:
        starts, ends = tokenizer.offsets(text)

        assert len(starts) > 0
        assert starts[0] >= 0
        assert ends[-1] <= len(text)
        assert (starts <= ends).all()
        assert (np.diff(starts) >= 0).all()
        assert (np.diff(ends) >= 0).all()

    @pytest.mark.parametrize("text", ["", " ", "\n\t \u3000"])
    def test_a_text_without_words_has_no_tokens(self, tokenizer: Tokenizer, text: str) -> None:
        starts, ends = tokenizer.offsets(text)

        assert len(starts) == len(ends) == 0

    def test_offsets_count_characters_not_bytes(self, tokenizer: Tokenizer) -> None:
        text = "中文 𠀀 é word"

        starts, ends = tokenizer.offsets(text)

        assert text[starts[-1] : ends[-1]] in "word"
        assert ends[-1] == len(text)

    def test_every_word_is_covered(self, tokenizer: Tokenizer) -> None:
        starts, ends = tokenizer.offsets(PROSE)

        covered = np.zeros(len(PROSE), dtype=bool)
        for start, end in zip(starts, ends, strict=True):
            covered[start:end] = True
        assert not PROSE.isspace()
        assert all(mark or letter.isspace() for mark, letter in zip(covered, PROSE, strict=True))

    @pytest.mark.parametrize("token", ["[CLS]", "[SEP]", "[MASK]", "[PAD]", "</s>"])
    def test_a_control_token_in_the_text_is_plain_text(
        self, tokenizer: Tokenizer, token: str
    ) -> None:
        starts, _ = tokenizer.offsets(token)

        assert len(starts) >= 3

    def test_a_long_text_is_not_cut(self, tokenizer: Tokenizer) -> None:
        once, _ = tokenizer.offsets(PROSE + "\n")

        starts, ends = tokenizer.offsets((PROSE + "\n") * 200)

        assert len(starts) == 200 * len(once)
        assert ends[-1] == 200 * len(PROSE + "\n") - 1

    def test_the_same_text_gives_the_same_tokens_in_every_thread(
        self, tokenizer: Tokenizer
    ) -> None:
        expected = [tokenizer.offsets(text) for text in TEXTS]

        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(tokenizer.offsets, TEXTS * 8))

        assert len(found) == 8 * len(expected)
        for (starts, ends), (first_starts, first_ends) in zip(found, expected * 8, strict=True):
            assert np.array_equal(starts, first_starts)
            assert np.array_equal(ends, first_ends)

    @pytest.mark.parametrize("text", ["", " \n", *TEXTS])
    def test_the_count_is_that_of_the_offsets(self, tokenizer: Tokenizer, text: str) -> None:
        assert tokenizer.count(text) == len(tokenizer.offsets(text).starts)

    @pytest.mark.parametrize("text", TEXTS)
    def test_spaces_part_tokens_if_it_says_so(self, tokenizer: Tokenizer, text: str) -> None:
        words = [*text.split(), "and", *text.split()]

        apart = [tokenizer.count(word) for word in words]

        if tokenizer.parted_by_spaces:
            assert tokenizer.count(" ".join(words)) == sum(apart)

    def test_the_revision_is_a_positive_number(self, tokenizer: Tokenizer) -> None:
        assert tokenizer.revision >= 1
