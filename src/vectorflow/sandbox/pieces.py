"""Sections, attachments and errors as frames. What a child sends is believed in nothing."""

from collections.abc import Iterator, Mapping

from vectorflow.domain.documents import MAX_SECTION, Attached, Section, SectionKind
from vectorflow.errors import DocumentFailed, LimitExceeded, VectorFlowError
from vectorflow.sandbox.frames import MAX_BODY, Frame, Malformed, packed

SECTION, ATTACHED, END, FAILED = "section", "attached", "end", "failed"
"""What a frame is, under `is`."""

_MAX_SENTENCE = 2000
"""Characters of an error's message."""


def packed_piece(piece: Section | Attached) -> bytes:
    """Write a section or an attachment."""
    if isinstance(piece, Attached):
        if len(piece.data) > MAX_BODY:
            raise LimitExceeded("output", f"something of {len(piece.data):,} bytes is attached")
        return packed({"is": ATTACHED, "name": piece.name}, piece.data)
    head: dict[str, object] = {"is": SECTION, "start": piece.start}
    beside = {
        "headings": piece.headings,
        "page": piece.page,
        "header": piece.header,
        "language": piece.language,
        "properties": dict(piece.properties),
    }
    head |= {name: value for name, value in beside.items() if value}
    if piece.kind is not SectionKind.TEXT:
        head["kind"] = piece.kind
    return packed(head, piece.text.encode())


def piece_of(frame: Frame) -> Section | Attached:
    """Read a section or an attachment.

    Raises:
        Malformed: It is neither, or breaks a law of the port.
    """
    head = frame.head
    if head.get("is") == ATTACHED:
        return Attached(name=_text(head, "name"), data=frame.body)
    text = _decoded(frame.body)
    if head.get("is") != SECTION or not 0 < len(text) <= MAX_SECTION:
        raise Malformed
    return Section(
        text=text,
        start=_count(head, "start"),
        headings=tuple(_texts(head, "headings")),
        page=_count(head, "page") if "page" in head else None,
        kind=_kind(head),
        header=_text(head, "header"),
        language=_text(head, "language"),
        properties=_properties(head),
    )


def packed_failure(error: VectorFlowError, resident: int) -> bytes:
    """Write why a document fails, and the bytes of memory that the child has now."""
    limit = error.limit if isinstance(error, LimitExceeded) else ""
    said = {"code": error.code, "message": error.message, "fix": error.fix, "limit": limit}
    return packed({"is": FAILED, "resident": resident, **said})


def failure_of(head: Mapping[str, object]) -> DocumentFailed:
    """Read why a document fails: as an error of its class, which fails nothing but the document.

    Raises:
        Malformed: It does not say.
    """
    code, message, fix = (_text(head, name)[:_MAX_SENTENCE] for name in ("code", "message", "fix"))
    if not message:
        raise Malformed
    if code == LimitExceeded.code:
        return LimitExceeded(_text(head, "limit")[:_MAX_SENTENCE], message, fix=fix)
    found = next((kind for kind in _kinds(DocumentFailed) if kind.code == code), DocumentFailed)
    return found(message, fix=fix)


def _kinds(error: type[DocumentFailed]) -> Iterator[type[DocumentFailed]]:
    """Give the errors that a message and a fix make."""
    if error.__init__ is DocumentFailed.__init__:
        yield error
    for kind in error.__subclasses__():
        yield from _kinds(kind)


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Malformed from None


def _text(head: Mapping[str, object], name: str) -> str:
    value = head.get(name, "")
    if not isinstance(value, str):
        raise Malformed
    return value


def _texts(head: Mapping[str, object], name: str) -> Iterator[str]:
    values = head.get(name, [])
    if not isinstance(values, list):
        raise Malformed
    for value in values:
        if not isinstance(value, str):
            raise Malformed
        yield value


def _count(head: Mapping[str, object], name: str) -> int:
    value = head.get(name)
    if type(value) is not int or value < 0:  # a bool is no count
        raise Malformed
    return value


def _kind(head: Mapping[str, object]) -> SectionKind:
    try:
        return SectionKind(_text(head, "kind") or SectionKind.TEXT)
    except ValueError:
        raise Malformed from None


def _properties(head: Mapping[str, object]) -> dict[str, str]:
    values = head.get("properties", {})
    if not isinstance(values, dict):
        raise Malformed
    return {name: _text(values, name) for name in values}
