"""Sections that are no running text, cut as befits them."""

from vectorflow.adapters._code_cuts import cut_code
from vectorflow.adapters._text_rows import cut_rows
from vectorflow.domain.documents import Section, SectionKind
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Spans
from vectorflow.ports.tokenizer import Tokenizer


def cut_by_kind(section: Section, tokenizer: Tokenizer, chunking: Chunking) -> Spans | None:
    """Cut a table between its rows, and code between its parts; None leaves text to the caller."""
    match section.kind:
        case SectionKind.TABLE:
            return cut_rows(section, tokenizer, chunking)
        case SectionKind.CODE:
            return cut_code(section, tokenizer, chunking)
        case SectionKind.TEXT:
            return None
