import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.adapters.sources.files import FileSource
from vectorflow.domain.documents import Listed
from vectorflow.errors import InvalidInput, UnreadableSource
from vectorflow.testing.sources import Place, SourceSuite


class Folder(Place):
    kind: type[FileSource] = FileSource

    def __init__(self, root: Path) -> None:
        self.root = root

    def source(self) -> FileSource:
        return self.kind([self.root])

    def put(self, external_id: str, data: bytes) -> None:
        (self.root / external_id).write_bytes(data)

    def remove(self, external_id: str) -> None:
        (self.root / external_id).unlink()


class TestFileSource(SourceSuite):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return Folder(tmp_path)


class ListsTwice(FileSource):
    def list(self) -> Iterator[Listed]:
        yield from super().list()
        yield from super().list()


class NamesByPlaceInTheListing(FileSource):
    def list(self) -> Iterator[Listed]:
        for number, one in enumerate(super().list()):
            yield Listed(external_id=str(number), uri=one.uri, size=one.size)


class ForgetsTheLast(FileSource):
    def list(self) -> Iterator[Listed]:
        yield from list(super().list())[:-1]


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (ListsTwice, "test_every_file_is_listed_once_with_its_size"),
        (NamesByPlaceInTheListing, "test_an_id_does_not_depend_on_the_other_files"),
        (ForgetsTheLast, "test_what_is_listed_can_be_opened_and_read"),
        (ForgetsTheLast, "test_an_empty_place_lists_nothing"),
    ],
)
def test_the_suite_catches_a_broken_source(
    tmp_path: Path, broken: type[FileSource], law: str
) -> None:
    place = Folder(tmp_path)
    place.kind = broken

    with pytest.raises(AssertionError):
        getattr(SourceSuite(), law)(place)


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def ids(source: FileSource) -> list[str]:
    return [listed.external_id for listed in source.list()]


def failures(source: FileSource) -> dict[str, str]:
    return {one.external_id: str(one.failure) for one in source.list() if one.failure}


def test_a_directory_is_listed_in_order_with_paths_below_it(tmp_path: Path) -> None:
    write(tmp_path / "docs", "b.txt", "a/z.txt", "a/b/c.txt", "a.txt")

    source = FileSource([tmp_path / "docs"])

    assert ids(source) == ["a.txt", "a/b/c.txt", "a/z.txt", "b.txt"]
    assert source.scope == "docs"


def test_the_scope_is_the_name_of_the_directory_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "docs", "a.txt")
    (tmp_path / "link").symlink_to("docs")
    monkeypatch.chdir(tmp_path / "docs")

    assert FileSource(["."]).scope == "docs"
    assert FileSource([tmp_path / "link"]).scope == "docs"
    assert FileSource(["../link/"]).scope == "docs"
    assert FileSource(["/"]).scope == "/"
    assert FileSource(["."], scope="handbook").scope == "handbook"


def test_only_one_directory_has_a_scope(tmp_path: Path) -> None:
    write(tmp_path, "a/x.txt", "b/y.txt")

    assert FileSource([tmp_path / "a" / "x.txt"]).scope is None
    assert FileSource([tmp_path / "a", tmp_path / "b"]).scope is None
    assert FileSource([f"{tmp_path}/a/*"]).scope is None
    with pytest.raises(InvalidInput, match="scope 'x' needs one directory"):
        FileSource([tmp_path / "a" / "x.txt"], scope="x")


def test_hidden_files_and_excluded_directories_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", ".env", ".git/config", "data/ledger.db", "sub/data/kept.txt")

    source = FileSource([tmp_path], exclude=[tmp_path / "sub" / ".." / "data"])

    assert ids(source) == ["a.txt", "sub/data/kept.txt"]


def test_a_hidden_file_that_is_named_is_listed(tmp_path: Path) -> None:
    write(tmp_path, ".env", ".hidden/a.txt")

    assert ids(FileSource([tmp_path / ".env"])) == [".env"]
    assert ids(FileSource([tmp_path / ".hidden"])) == ["a.txt"]


def test_links_are_followed_to_files_inside_only(tmp_path: Path) -> None:
    write(tmp_path, "root/a.txt", "root/sub/b.txt", "outside/c.txt", "root/data/d.db")
    root = tmp_path / "root"
    (root / "inside.txt").symlink_to("sub/b.txt")
    (root / "outside.txt").symlink_to(tmp_path / "outside" / "c.txt")
    (root / "outside").symlink_to(tmp_path / "outside")
    (root / "excluded").symlink_to("data/d.db")
    (root / "sub" / "loop").symlink_to("..")
    (root / "sub" / "again").symlink_to(".")

    source = FileSource([root], exclude=[root / "data"])

    assert ids(source) == ["a.txt", "inside.txt", "sub/b.txt"]
    assert failures(source) == {}


def test_a_link_to_nothing_inside_is_a_failure(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    (tmp_path / "gone").symlink_to("not-there.txt")
    (tmp_path / "circle").symlink_to("circle")

    assert failures(FileSource([tmp_path])) == {
        "circle": (
            "cannot read 'circle': Too many levels of symbolic links;"
            " make it readable or move it away, then run the same command again"
        ),
        "gone": (
            "cannot read 'gone': No such file or directory;"
            " make it readable or move it away, then run the same command again"
        ),
    }


@pytest.mark.timeout(10)
def test_special_files_are_failures_and_never_opened(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        source = FileSource([tmp_path])

        listing = {one.external_id: one for one in source.list()}

    assert sorted(listing) == ["a.txt", "pipe", "socket"]
    assert sorted(failures(source)) == ["pipe", "socket"]
    assert "not a regular file" in str(listing["pipe"].failure)
    with pytest.raises(UnreadableSource, match="not a regular file"):
        source.open(listing["pipe"])
    assert sorted(failures(FileSource(["/dev/null"]))) == ["null"]


@pytest.mark.timeout(10)
def test_a_file_that_became_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    source = FileSource([tmp_path])
    (listed,) = source.list()
    (tmp_path / "a.txt").unlink()
    os.mkfifo(tmp_path / "a.txt")

    with pytest.raises(UnreadableSource, match="not a regular file"):
        source.open(listed)


def test_files_have_their_names_and_where_these_are_the_same_the_paths_as_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "x/a.txt", "x/b.txt", "y/a.txt", "y/d/e.txt")
    monkeypatch.chdir(tmp_path)

    assert ids(FileSource(["x/a.txt", "x/b.txt"])) == ["a.txt", "b.txt"]
    assert ids(FileSource(["x/a.txt", "./y/a.txt", "x/b.txt"])) == ["x/a.txt", "y/a.txt", "b.txt"]
    assert ids(FileSource(["x", "y"])) == ["x/a.txt", "b.txt", "y/a.txt", "d/e.txt"]
    assert ids(FileSource(["x/a.txt", "x", tmp_path / "x" / "a.txt"])) == ["a.txt", "b.txt"]


def test_a_short_id_never_equals_the_long_one_of_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "r/a/x.txt", "a/x.txt", "b/x.txt")
    monkeypatch.chdir(tmp_path)

    assert ids(FileSource(["r", "a/x.txt", "b/x.txt"])) == ["r/a/x.txt", "a/x.txt", "b/x.txt"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.md", ["a.md"]),
        ("**/*.md", ["a.md", "d/b.md", "d/e/c.md"]),
        ("d/**", ["b.md", "b.txt", "e/c.md"]),
        ("d/*.*", ["b.md", "b.txt"]),
        ("*/b.[!t]*", ["d/b.md"]),
        ("?.md", ["a.md"]),
        ("d/**/e/*", ["e/c.md"]),
        ("d/[[]x].txt", ["[x].txt"]),
        ("d/[x].txt", ["[x].txt"]),
    ],
)
def test_a_glob_matches_files_at_the_depth_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, expected: list[str]
) -> None:
    write(tmp_path, "a.md", "d/b.md", "d/b.txt", "d/e/c.md", ".hidden/d.md")
    if "x" in pattern:
        write(tmp_path, "d/[x].txt")
    (tmp_path / "d" / "loop").symlink_to("..")
    monkeypatch.chdir(tmp_path)

    assert ids(FileSource([pattern])) == expected
    assert ids(FileSource([tmp_path / pattern])) == expected


def test_a_glob_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")

    with pytest.raises(InvalidInput, match="no file matches"):
        list(FileSource([f"{tmp_path}/*.md"]).list())


@pytest.mark.parametrize("path", ["none.txt", "a.txt/b", "none/*.md", "nul\0", "\ud800"])
def test_a_path_that_does_not_exist_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    write(tmp_path, "a.txt")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InvalidInput, match="does not exist; check the path"):
        FileSource(["a.txt", path])


@pytest.mark.parametrize("paths", [[], [""]])
def test_no_path_is_refused(paths: list[str]) -> None:
    with pytest.raises(InvalidInput, match="no path is given"):
        FileSource(paths)


def test_the_address_of_a_file_is_a_file_uri(tmp_path: Path) -> None:
    write(tmp_path, "real/a b.txt")
    (tmp_path / "link").symlink_to("real")

    (listed,) = FileSource([tmp_path / "link" / "a b.txt"]).list()

    assert listed.uri == (tmp_path / "real" / "a b.txt").as_uri()


@given(st.sets(st.binary(min_size=1, max_size=6).filter(lambda name: not set(name) & set(b"/\0."))))
def test_names_that_are_not_text_have_ids_of_their_own_and_can_be_read(names: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as root:
        for name in names:
            Path(root, os.fsdecode(name)).write_bytes(name)
        source = FileSource([root])

        listing = list(source.list())
        read = {one.external_id: source.open(one) for one in listing}

        assert sorted(file.read() for file in read.values()) == sorted(names)
        assert all(one.external_id.encode() and one.uri.isascii() for one in listing)
        for file in read.values():
            file.close()


def test_the_escape_of_an_id_can_be_read(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"")
    (tmp_path / r"caf\xe9.txt").write_bytes(b"")

    assert sorted(ids(FileSource([tmp_path]))) == [r"caf\\xe9.txt", r"caf\xe9.txt"]


AS_NOBODY = """
import os, sys
from vectorflow.adapters.sources.files import FileSource
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for path in sys.argv[1:]:
    source = FileSource([path])
    for one in source.list():
        print(one.external_id, one.failure.code if one.failure else "ok")
        if one.failure is None:
            source.open(one).close()
"""


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that other users get to; pytest's own is closed to them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_may_not_be_read_is_listed_as_a_failure(reachable: Path) -> None:
    write(reachable, "open.txt", "closed.txt", "locked/a.txt", "unsearchable/b.txt")
    (reachable / "closed.txt").chmod(0)
    (reachable / "locked").chmod(0)
    (reachable / "unsearchable").chmod(0o744)

    listed = as_nobody(reachable)
    below = as_nobody(reachable / "locked", reachable / "locked" / "a.txt")

    assert listed == [
        "closed.txt unreadable_source",
        "locked/ unreadable_source",
        "open.txt ok",
        "unsearchable/b.txt unreadable_source",
    ]
    assert below == ["./ unreadable_source", "a.txt unreadable_source"]


def as_nobody(*paths: Path) -> list[str]:
    """List as another user, who may have no way to the package and so becomes one after imports."""
    ran = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *map(str, paths)],
        check=True,
        capture_output=True,
        text=True,
    )
    return ran.stdout.splitlines()
