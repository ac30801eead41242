"""Chunks beside the tokenizers of real models: what counts is what the model reads of a chunk."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorflow import plugins
from vectorflow.adapters.tokenizers.bpe import Cl100kTokenizer, O200kTokenizer
from vectorflow.adapters.tokenizers.minilm import MiniLmTokenizer
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Chunker
from vectorflow.ports.tokenizer import Tokenizer
from vectorflow.testing.chunkers import (
    CODE,
    MULTILINGUAL,
    SUITES,
    TABLE_HEADER,
    TABLE_ROWS,
    check_spans,
    sections,
    texts,
)

TOKENIZERS = {
    "cl100k": Cl100kTokenizer(),
    "o200k": O200kTokenizer(),
    "minilm": MiniLmTokenizer(),
}
CHUNKERS = (
    "code",
    "default",
    "lines",
    "markdown",
    "pages",
    "paragraphs",
    "recursive",
    "rows",
    "sentences",
    "tokens",
)

AWKWARD = "".join(
    (
        "unbelievablyantidisestablishmentarianism " * 9,
        "1234567890" * 20,
        "\n\n...!!!\n\n\n)));\n\n",
        "camelCaseHTTPServerXML" * 9,
        "it's we'll they'd" * 9,
        "ZWJ\u200d\u200d" * 20,
        "𠀀𠀁𠮷野家で" * 9,
        "naïve café e\u0301a\u0301" * 9,
    )
)


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=list(TOKENIZERS))
@pytest.mark.parametrize("name", CHUNKERS)
@given(section=sections(texts()), size=st.integers(12, 90))
@settings(max_examples=20, deadline=None, suppress_health_check=SUITES)
def test_no_chunk_has_more_tokens_than_asked_for_when_it_stands_alone(
    name: str, tokenizer: Tokenizer, section: Section, size: int
) -> None:
    chunker = _chunker(name, tokenizer, size, size // 8)

    check_spans(section, chunker.chunk(section), tokenizer, size)


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=list(TOKENIZERS))
@pytest.mark.parametrize("name", CHUNKERS)
@pytest.mark.parametrize("size", [12, 30, 64])
def test_real_and_awkward_text_fits_too(name: str, tokenizer: Tokenizer, size: int) -> None:
    for text in (MULTILINGUAL, AWKWARD, TABLE_HEADER + TABLE_ROWS, CODE):
        section = Section(text=text, start=0)

        spans = _chunker(name, tokenizer, size, size // 4).chunk(section)

        check_spans(section, spans, tokenizer, size)
        assert "\ufffd" not in "".join(
            text[a:b] for a, b in zip(spans.starts, spans.ends, strict=True)
        )


def _chunker(name: str, tokenizer: Tokenizer, size: int, overlap: int) -> Chunker:
    made: Chunker = plugins.load("chunkers", name)(
        tokenizer, Chunking(chunker=name, size=size, overlap=overlap)
    )
    return made
