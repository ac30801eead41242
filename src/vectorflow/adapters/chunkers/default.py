"""The default: chunks whose bounds the text itself decides."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from vectorflow.adapters._text_cuts import (
    choose,
    is_strong,
    lines,
    paragraphs,
    sentences,
    within,
    words,
)
from vectorflow.adapters._text_kinds import cut_by_kind
from vectorflow.adapters._text_tokens import TokenizedText
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.tokenizer import Tokenizer


class DefaultChunker(Chunker):
    """Cuts between paragraphs, else sentences, lines, words, tokens.

    A chunk is a body and, before it, the whole sentences of the body before that fit into `overlap`
    tokens. A body ends, when its room is mostly full, at the best kind of place there; among
    several, at the one whose nearest text has the lowest hash. A place that is strong, as its
    nearest text alone decides, counts from a quarter of the room on. So the bounds find back to
    where they were soon after an edit, and most chunks stay the same.

    Tables are cut between rows, with their header before each chunk, and code between its parts.
    """

    revision: ClassVar[int] = 1

    def __init__(self, tokenizer: Tokenizer, chunking: Chunking) -> None:
        TokenizedText.check(chunking)
        self._tokenizer = tokenizer
        self._chunking = chunking
        self._size = chunking.size
        self._overlap = chunking.overlap
        self._most = chunking.size - chunking.overlap
        self._least = max(1, self._most * 13 // 20)
        self._least_strong = max(1, self._most // 4)

    def chunk(self, section: Section) -> Spans:
        by_kind = cut_by_kind(section, self._tokenizer, self._chunking)
        if by_kind is not None:
            return by_kind
        text = _Divided(section.text, self._tokenizer)
        return text.spans(self._chunks(text))

    def _chunks(self, text: "_Divided") -> Iterator[tuple[int, int]]:
        earlier, body, visible = 0, 0, len(text.text.rstrip())
        while body < visible:
            begin = self._begin(text, earlier, body)
            end = self._fitting(text, begin, body)
            if begin < body and text.alone(begin, end) > self._size:
                begin, end = body, self._fitting(text, body, body)
            yield begin, end
            earlier, body = body, end

    def _fitting(self, text: "_Divided", begin: int, body: int) -> int:
        """End a body early where its chunk has more tokens alone than among the others."""
        most = self._most
        fits = text.count - text.first(begin) <= self._size
        end = len(text.text) if fits else self._end(text, body, most)
        while most > 1 and (over := text.alone(begin, end) - self._size) > 0:
            most = max(1, most - over)
            end = self._end(text, body, most)
        return end

    def _begin(self, text: "_Divided", earlier: int, body: int) -> int:
        """Reach back from a body to the whole sentences that fit, not beyond the body before."""
        first = text.first(body)
        low = max(earlier + 1, text.end(first - self._overlap))
        places = within(text.breaks, text.text, low, body)
        fits = (at for at in places if first - text.first(at) <= self._overlap)
        return next(fits, body)

    def _end(self, text: "_Divided", body: int, room: int) -> int:
        first = text.first(body)
        least, most = first + min(self._least, room), first + room
        early, low = (
            max(body, text.position(first + min(tokens, room) - 1)) + 1
            for tokens in (self._least_strong, self._least)
        )
        for places in text.places(early, low, text.position(most)):
            fit = (at for at in places if at >= low or is_strong(text.text, at))
            if (at := choose(text.text, fit)) is not None:
                return at
        cuts = filter(text.is_whole, range(least, most + 1))
        at = choose(text.text, (text.position(cut) for cut in cuts))
        return text.position(text.cut_before(most, first)) if at is None else at


class _Divided(TokenizedText):
    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        super().__init__(text, tokenizer)
        self._paragraphs = paragraphs(text, 0, len(text))
        self._sentences = sentences(text, 0, len(text))
        self.breaks = sorted({*self._paragraphs, *self._sentences})

    def places(self, early: int, low: int, high: int) -> Iterator[Sequence[int]]:
        """Give the places of each kind up to `high`, the best kind first; words only from `low`."""
        yield within(self._paragraphs, self.text, early, high)
        yield within(self._sentences, self.text, early, high)
        yield lines(self.text, early, high)
        yield words(self.text, low, high)
