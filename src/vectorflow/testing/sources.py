"""What every source must do. Subclass the suite and give an empty place as `place`."""

from abc import abstractmethod
from typing import Protocol

import pytest

from vectorflow.domain.documents import Listed
from vectorflow.errors import UnreadableSource
from vectorflow.ports.source import Source


class Place(Protocol):
    """Where raw files are, and the source that lists them."""

    @abstractmethod
    def source(self) -> Source:
        """Make a source of all that is there."""
        ...

    @abstractmethod
    def put(self, external_id: str, data: bytes) -> None:
        """Put a file there, or replace it."""
        ...

    @abstractmethod
    def remove(self, external_id: str) -> None:
        """Take a file away."""
        ...


class SourceSuite:
    """The laws of the port `source`."""

    @pytest.fixture
    def place(self) -> Place:
        """Give a place without any file."""
        raise NotImplementedError

    def test_every_file_is_listed_once_with_its_size(self, place: Place) -> None:
        _fill(place)

        listing = list(place.source().list())

        assert {one.external_id: one.size for one in listing} == {"a.txt": 3, "b.md": 0, "c": 9000}
        assert len(listing) == 3
        assert all(one.failure is None for one in listing)
        assert len({one.uri for one in listing}) == 3

    def test_what_is_listed_can_be_opened_and_read(self, place: Place) -> None:
        _fill(place)
        source = place.source()

        read = {one.external_id: _read(source, one) for one in source.list()}

        assert read == {"a.txt": b"one", "b.md": b"", "c": b"x" * 9000}

    def test_the_same_files_are_listed_alike_by_another_source(self, place: Place) -> None:
        _fill(place)

        first, second = place.source(), place.source()

        assert _by_id(first) == _by_id(second)
        assert len(_by_id(first)) == 3
        assert first.scope == second.scope

    def test_an_id_does_not_depend_on_the_other_files(self, place: Place) -> None:
        _fill(place)
        before = _by_id(place.source())

        place.remove("b.md")
        place.put("d.txt", b"new")
        after = _by_id(place.source())

        assert after.keys() == {"a.txt", "c", "d.txt"}
        assert {after[name] == before[name] for name in ("a.txt", "c")} == {True}

    def test_a_replaced_file_is_read_anew_under_the_same_id(self, place: Place) -> None:
        _fill(place)
        place.put("a.txt", b"another text")

        source = place.source()
        listed = _by_id(source)["a.txt"]

        assert listed.size == 12
        assert _read(source, listed) == b"another text"

    @pytest.mark.parametrize("name", ["with space.txt", "ünï-文.md", "100%.txt", "a#b?c&d.txt"])
    def test_a_name_may_hold_anything(self, place: Place, name: str) -> None:
        place.put(name, b"text")
        source = place.source()

        (listed,) = source.list()

        assert listed.external_id == name
        assert _read(source, listed) == b"text"

    def test_a_file_that_vanished_is_unreadable(self, place: Place) -> None:
        _fill(place)
        source = place.source()
        listed = _by_id(source)["a.txt"]
        place.remove("a.txt")

        with pytest.raises(UnreadableSource, match=r"a\.txt"):
            source.open(listed)

    def test_an_empty_place_lists_nothing(self, place: Place) -> None:
        assert list(place.source().list()) == []

        _fill(place)
        assert len(list(place.source().list())) == 3


def _fill(place: Place) -> None:
    for name, data in {"a.txt": b"one", "b.md": b"", "c": b"x" * 9000}.items():
        place.put(name, data)


def _by_id(source: Source) -> dict[str, Listed]:
    return {listed.external_id: listed for listed in source.list()}


def _read(source: Source, listed: Listed) -> bytes:
    with source.open(listed) as file:
        return file.read()
