"""Source code joined to chunks: whole functions, classes, statements, else lines."""

from functools import partial
from importlib.util import find_spec

from vectorflow.adapters._text_cuts import lines, paragraphs, within, words
from vectorflow.adapters._text_joins import Joined
from vectorflow.adapters._text_tokens import TokenizedText
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Spans
from vectorflow.ports.tokenizer import Tokenizer


def cut_code(section: Section, tokenizer: Tokenizer, chunking: Chunking) -> Spans:
    """Join whole parts: functions, classes and what else stands alone, comments above them too.

    One that is too large is cut between its own parts, down to statements; then, as is all code
    whose language is not known here, after blank lines, lines and words. Chunks never overlap.
    """
    text = TokenizedText(section.text, tokenizer)
    levels = [partial(within, places) for places in _parts(text, section, chunking.size)]
    joined = Joined(text=text, size=chunking.size, levels=(*levels, paragraphs, lines, words))
    return text.spans(joined.chunks())


def _parts(text: TokenizedText, section: Section, size: int) -> list[list[int]]:
    if not section.language or find_spec("tree_sitter") is None:
        return []
    from vectorflow.adapters._syntax_trees import parts  # noqa: PLC0415 - an extra brings it

    return parts(text.text, section.language, lambda a, b: text.units(a, b) > size) or []
