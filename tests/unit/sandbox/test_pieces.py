"""Sections, attachments and errors as frames: what goes in comes out, and nothing else does."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.domain.documents import MAX_SECTION, Attached, Section, SectionKind
from vectorflow.errors import (
    BadChunk,
    BrokenFile,
    DocumentFailed,
    LeaseLost,
    LimitExceeded,
    VectorFlowError,
)
from vectorflow.sandbox.frames import Frame, Malformed
from vectorflow.sandbox.pieces import failure_of, packed_failure, packed_piece, piece_of

words = st.text(st.characters(exclude_categories=["Cs"]))
sections = st.builds(
    Section,
    text=words.filter(bool),
    start=st.integers(0, 1 << 40),
    headings=st.lists(words).map(tuple),
    page=st.none() | st.integers(1, 1 << 20),
    kind=st.sampled_from(SectionKind),
    header=words,
    language=words,
    properties=st.dictionaries(words, words),
)


def frame_of(packed: bytes) -> Frame:
    head, body = int.from_bytes(packed[:4]), int.from_bytes(packed[4:8])
    assert len(packed) == 8 + head + body
    return Frame(json.loads(packed[8 : 8 + head]), packed[8 + head :])


@given(piece=sections | st.builds(Attached, name=words, data=st.binary()))
def test_a_piece_comes_out_as_it_went_in(piece: Section | Attached) -> None:
    assert piece_of(frame_of(packed_piece(piece))) == piece


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ({}, b"text"),
        ({"is": "other", "start": 0}, b"text"),
        ({"is": "section", "start": 0}, b""),
        ({"is": "section", "start": 0}, b"x" * (MAX_SECTION + 1)),
        ({"is": "section", "start": 0}, b"\xff"),
        ({"is": "section"}, b"text"),
        ({"is": "section", "start": -1}, b"text"),
        ({"is": "section", "start": True}, b"text"),
        ({"is": "section", "start": "0"}, b"text"),
        ({"is": "section", "start": 0, "page": None}, b"text"),
        ({"is": "section", "start": 0, "page": 1.5}, b"text"),
        ({"is": "section", "start": 0, "headings": "one"}, b"text"),
        ({"is": "section", "start": 0, "headings": [1]}, b"text"),
        ({"is": "section", "start": 0, "kind": "poem"}, b"text"),
        ({"is": "section", "start": 0, "header": ["x"]}, b"text"),
        ({"is": "section", "start": 0, "properties": ["x"]}, b"text"),
        ({"is": "section", "start": 0, "properties": {"title": 1}}, b"text"),
        ({"is": "attached", "name": 1}, b"data"),
    ],
)
def test_what_is_no_piece_is_refused(head: dict[str, object], body: bytes) -> None:
    with pytest.raises(Malformed):
        piece_of(Frame(head, body))


def _errors(error: type[VectorFlowError]) -> list[type[VectorFlowError]]:
    return [error, *(each for kind in error.__subclasses__() for each in _errors(kind))]


@pytest.mark.parametrize(
    "kind", [kind for kind in _errors(DocumentFailed) if kind not in {LimitExceeded, BadChunk}]
)
def test_an_error_comes_out_as_it_went_in(kind: type[DocumentFailed]) -> None:
    for error in (kind("what happened"), kind("what happened", fix="what to do")):
        frame = frame_of(packed_failure(error, resident=7))
        found = failure_of(frame.head)

        assert type(found) is kind
        assert (found.message, found.fix) == (error.message, error.fix)
        assert frame.head["resident"] == 7


def test_a_limit_keeps_its_name() -> None:
    found = failure_of(frame_of(packed_failure(LimitExceeded("depth", "too deep"), 0)).head)

    assert isinstance(found, LimitExceeded)
    assert (found.limit, found.message) == ("depth", "too deep")


@pytest.mark.parametrize("error", [LeaseLost("gone"), BadChunk("bad", position=3)])
def test_a_child_fails_nothing_but_its_document(error: VectorFlowError) -> None:
    found = failure_of(frame_of(packed_failure(error, 0)).head)

    assert type(found) is DocumentFailed


def test_an_error_without_a_sentence_is_refused() -> None:
    for head in ({"code": "broken_file"}, {"code": 7, "message": "x"}, {"message": ["x"]}):
        with pytest.raises(Malformed):
            failure_of(head)


def test_a_message_of_a_child_is_cut() -> None:
    found = failure_of({"code": BrokenFile.code, "message": "x" * 9999, "fix": "y" * 9999})

    assert len(str(found)) < 5000
