"""Rows joined to chunks, with the names of the columns before them."""

import numpy as np

from vectorflow.adapters._text_cuts import lines, sentences, words
from vectorflow.adapters._text_joins import Joined
from vectorflow.adapters._text_tokens import TokenizedText
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Spans
from vectorflow.ports.tokenizer import Tokenizer


def cut_rows(section: Section, tokenizer: Tokenizer, chunking: Chunking) -> Spans:
    """Join whole rows; the header comes again before every chunk that does not begin with it.

    One that takes more than half of a chunk is not repeated. A row that does not fit is cut where a
    sentence or a word ends. Rows never overlap.
    """
    text = _Headed(section, tokenizer, chunking.size)
    rows = Joined(
        text=text,
        size=chunking.size,
        levels=(lines, sentences, words),
        together=len(text.header) if section.text.startswith(text.header) else 0,
    )
    starts, ends, tokens, _ = text.spans(rows.chunks())
    repeats = [text.repeats(start) for start in starts.tolist()]
    return Spans(starts, ends, tokens, np.array(repeats, dtype=np.bool_) if any(repeats) else None)


class _Headed(TokenizedText):
    """A table; what is counted of its chunks has the header where it is repeated."""

    def __init__(self, section: Section, tokenizer: Tokenizer, size: int) -> None:
        super().__init__(section.text, tokenizer)
        header = section.header
        self._header_tokens = tokenizer.count(header) if header else 0
        self.header = header if self._header_tokens * 2 <= size else ""
        """Empty where it is too long to be repeated."""

    def repeats(self, begin: int) -> bool:
        """Tell whether the header is put before a chunk that begins here."""
        return bool(self.header) and not self.text.startswith(self.header, begin)

    def reserved(self, begin: int) -> int:
        return self._header_tokens if self.repeats(begin) else 0

    def _count(self, begin: int, end: int) -> int:
        if self.repeats(begin):
            return self._tokenizer.count(self.header + self.text[begin:end])
        return super()._count(begin, end)
