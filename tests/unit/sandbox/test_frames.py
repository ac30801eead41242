"""Frames over a pair of sockets."""

import io
import os
import socket
import struct
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.sandbox.frames import MAX_BODY, MAX_HEAD, Channel, Malformed, packed

Pair = tuple[Channel, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


numbers = st.integers(-(1 << 63), (1 << 63) - 1)


@given(
    frames=st.lists(st.tuples(st.dictionaries(st.text(max_size=3), numbers), st.binary())),
    steps=st.lists(st.integers(1, 40), min_size=1),
)
def test_frames_come_as_they_were_sent_however_they_are_parted(
    frames: list[tuple[dict[str, int], bytes]], steps: list[int]
) -> None:
    sent = b"".join(packed(*frame) for frame in frames)

    came = list(iter(Channel(parted(sent, steps)).receive, None))

    assert [tuple(frame) for frame in came] == frames


def parted(sent: bytes, steps: list[int]) -> socket.socket:
    """Stand for a connection over which bytes come in steps."""
    source, turns = io.BytesIO(sent), cycle(steps)

    class Parted:
        def recv(self, size: int) -> bytes:
            return source.read(min(size, next(turns)))

    return cast("socket.socket", Parted())


def test_a_frame_that_breaks_off_is_the_end(pair: Pair) -> None:
    channel, theirs = pair
    theirs.send(packed({"a": 1}) + packed({"b": 2}, b"body")[:-1])
    theirs.close()

    assert channel.receive() == ({"a": 1}, b"")
    assert channel.receive() is None


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack(">II", MAX_HEAD + 1, 0),
        struct.pack(">II", 2, MAX_BODY + 1),
        struct.pack(">II", 4, 0) + b"nil!",
        struct.pack(">II", 2, 0) + b"[]",
        b"\xff" * 64,
    ],
)
def test_what_is_no_frame_is_refused(pair: Pair, garbage: bytes) -> None:
    channel, theirs = pair
    theirs.send(garbage)

    with pytest.raises(Malformed):
        channel.receive()


def test_who_waits_too_long_hears_of_it() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.01)
    channel = Channel(ours)

    with pytest.raises(TimeoutError):
        channel.receive()

    channel.close()
    theirs.close()


def test_a_file_comes_along_where_it_is_expected(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(theirs, takes_files=True)
    (tmp_path / "file").write_bytes(b"content")

    with (tmp_path / "file").open("rb") as file:
        Channel(ours).send_with_file(packed({"file": True}), file.fileno())
    assert channel.receive() == ({"file": True}, b"")
    with os.fdopen(channel.take_file(), "rb") as received:
        assert received.read() == b"content"
    with pytest.raises(Malformed):
        channel.take_file()

    channel.close()
    ours.close()


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_files_that_a_child_sends_are_not_taken(pair: Pair) -> None:
    channel, theirs = pair
    held = open_files()

    with Path(__file__).open("rb") as file:
        socket.send_fds(theirs, [packed({})], [file.fileno()])

    assert channel.receive() == ({}, b"")
    assert open_files() == held


def test_what_came_along_and_nobody_took_is_closed(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    held = open_files()
    channel = Channel(theirs, takes_files=True)
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("rb") as file:
        Channel(ours).send_with_file(packed({}), file.fileno())
    channel.receive()

    channel.close()

    assert open_files() == held - 1
    ours.close()
