import numpy as np
import pytest

from vectorflow.adapters.tokenizers.bpe import Cl100kTokenizer, O200kTokenizer
from vectorflow.adapters.tokenizers.minilm import MiniLmTokenizer
from vectorflow.adapters.tokenizers.words import WordTokenizer
from vectorflow.ports.tokenizer import Tokenizer, TokenOffsets
from vectorflow.testing.tokenizers import TokenizerSuite

MINILM = MiniLmTokenizer()


class TestMiniLmTokenizer(TokenizerSuite):
    @pytest.fixture
    def tokenizer(self) -> Tokenizer:
        return MINILM


class TestWordTokenizer(TokenizerSuite):
    @pytest.fixture
    def tokenizer(self) -> Tokenizer:
        return WordTokenizer()


class TestCl100kTokenizer(TokenizerSuite):
    @pytest.fixture
    def tokenizer(self) -> Tokenizer:
        return Cl100kTokenizer()


class TestO200kTokenizer(TokenizerSuite):
    @pytest.fixture
    def tokenizer(self) -> Tokenizer:
        return O200kTokenizer()


class CountsBytes(WordTokenizer):
    def offsets(self, text: str) -> TokenOffsets:
        return super().offsets(text.encode("utf-8", "replace").decode("latin-1"))


class CutsLongTexts(WordTokenizer):
    def offsets(self, text: str) -> TokenOffsets:
        starts, ends = super().offsets(text)
        return TokenOffsets(starts[:128], ends[:128])


class KnowsControlTokens(WordTokenizer):
    def offsets(self, text: str) -> TokenOffsets:
        if text in {"[CLS]", "[SEP]"}:
            return TokenOffsets(np.array([0], np.int32), np.array([5], np.int32))
        return super().offsets(text)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (CountsBytes, "test_offsets_count_characters_not_bytes"),
        (CutsLongTexts, "test_a_long_text_is_not_cut"),
    ],
)
def test_the_suite_catches(broken: type[Tokenizer], test: str) -> None:
    with pytest.raises(AssertionError):
        getattr(TestWordTokenizer(), test)(broken())


def test_the_suite_catches_control_tokens() -> None:
    suite = TestWordTokenizer()

    with pytest.raises(AssertionError):
        suite.test_a_control_token_in_the_text_is_plain_text(KnowsControlTokens(), "[CLS]")
