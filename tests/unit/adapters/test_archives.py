"""ZIP archives of strangers are looked over before any library reads them."""

import io
import struct
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZipFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorflow.adapters import _archives
from vectorflow.adapters._archives import opened, read
from vectorflow.errors import BrokenFile, DocumentFailed, EncryptedFile, LimitExceeded

CENTRAL_SIZE_AT = 24
"""Where an entry of the directory says how long it is unpacked."""


def zipped(entries: dict[str, bytes], method: int = ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def with_size_of(archive: bytes, size: int) -> bytes:
    """Let the directory say that the only entry unpacks to so many bytes."""
    at = archive.index(b"PK\1\2") + CENTRAL_SIZE_AT
    return archive[:at] + struct.pack("<I", size) + archive[at + 4 :]


def entries_of(archive: bytes) -> list[str]:
    with opened(io.BytesIO(archive)) as found:
        return found.namelist()


def test_an_archive_is_read_as_it_is() -> None:
    source = io.BytesIO(zipped({"word/document.xml": b"<a/>", "empty": b""}))

    with opened(source) as archive:
        assert read(archive, "word/document.xml", 4) == b"<a/>"
        assert read(archive, "empty", 0) == b""

    assert not source.closed


def test_an_archive_with_a_long_comment_is_read() -> None:
    file = io.BytesIO(zipped({"a": b"b"}))
    with ZipFile(file, "a") as archive:
        archive.comment = b"c" * 60_000

    assert entries_of(file.getvalue()) == ["a"]


def test_an_entry_is_cut_off_where_it_is_too_long() -> None:
    with opened(io.BytesIO(zipped({"a": bytes(11)}))) as archive:
        assert len(read(archive, "a", 11)) == 11
        with pytest.raises(LimitExceeded) as caught:
            read(archive, "a", 10)

    assert caught.value.limit == "size"


def test_a_header_that_lies_about_a_length_is_no_help() -> None:
    honest = zipped({"a": bytes(10 << 20)})

    with opened(io.BytesIO(with_size_of(honest, 10))) as archive, pytest.raises(BrokenFile):
        read(archive, "a", 1 << 20)
    with opened(io.BytesIO(with_size_of(honest, 20 << 20))) as archive:
        assert read(archive, "a", 30 << 20) == bytes(10 << 20)


def test_a_missing_entry_is_a_broken_file() -> None:
    with opened(io.BytesIO(zipped({"a": b""}))) as archive, pytest.raises(BrokenFile) as caught:
        read(archive, "secret name of the document", 1)

    assert "secret" not in str(caught.value)


def test_too_many_entries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_archives, "MAX_ENTRIES", 3)

    assert len(entries_of(zipped(dict.fromkeys("abc", b"")))) == 3
    with pytest.raises(LimitExceeded) as caught:
        entries_of(zipped(dict.fromkeys("abcd", b"")))

    assert caught.value.limit == "entries"


def test_a_directory_too_large_is_not_even_read() -> None:
    archive = bytearray(zipped({"a": b""}) + bytes(_archives.MAX_DIRECTORY))
    end = archive[archive.index(b"PK\5\6") :][:22]
    struct.pack_into("<II", end, 12, _archives.MAX_DIRECTORY + 1, 0)

    with pytest.raises(LimitExceeded) as caught:
        entries_of(bytes(archive + end))

    assert caught.value.limit == "entries"


def test_an_archive_that_unpacks_to_far_more_than_it_holds_is_a_bomb() -> None:
    harmless = zipped({"a": bytes(1 << 20)})
    bomb = zipped({"a": bytes(_archives.HARMLESS + 1)})

    assert entries_of(harmless) == ["a"]
    with pytest.raises(LimitExceeded) as caught:
        entries_of(bomb)

    assert caught.value.limit == "ratio"


def test_an_archive_that_unpacks_to_too_much_is_refused() -> None:
    with pytest.raises(LimitExceeded) as caught:
        entries_of(with_size_of(zipped({"a": b"b"}), _archives.MAX_UNPACKED + 1))

    assert caught.value.limit == "size"


def test_folders_too_deep_are_refused() -> None:
    assert entries_of(zipped({"a/" * 31 + "b": b""}))
    with pytest.raises(LimitExceeded) as caught:
        entries_of(zipped({"a/" * 32 + "b": b""}))

    assert caught.value.limit == "depth"


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up", "a/../../up", "a\\..\\up", "C:\\up", "c:up", "\\\\host\\up"]
)
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(BrokenFile, match="lead out"):
        entries_of(zipped({"fine": b"", name: b""}))


@pytest.mark.parametrize("name", ["a..b", "...", "a/b..", "[Content_Types].xml", "ä/ö:ü"])
def test_names_that_only_look_odd_are_fine(name: str) -> None:
    assert entries_of(zipped({name: b""})) == [name]


def test_an_entry_with_a_password_is_an_encrypted_file() -> None:
    archive = bytearray(zipped({"a": b"b"}))
    archive[archive.index(b"PK\1\2") + 8] |= 1

    with pytest.raises(EncryptedFile):
        entries_of(bytes(archive))


def test_ways_of_packing_that_no_document_uses_are_refused() -> None:
    with pytest.raises(BrokenFile):
        entries_of(zipped({"a": b"b"}, ZIP_BZIP2))


def test_damage_found_while_an_archive_is_used_is_a_broken_file() -> None:
    archive = bytearray(zipped({"a": bytes(range(256))}))
    archive[40] ^= 0xFF

    with (
        pytest.raises(BrokenFile),
        opened(io.BytesIO(archive)) as found,
        found.open("a") as entry,
    ):
        entry.read()


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_archives_fail_as_documents_do(data: st.DataObject) -> None:
    archive = bytearray(zipped({"a/b": b"text " * 20, "c": bytes(100)}))
    for at in data.draw(st.lists(st.integers(0, len(archive) - 1), min_size=1, max_size=6)):
        archive[at] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(0, len(archive)))

    try:
        with opened(io.BytesIO(archive[:kept])) as found:
            for name in found.namelist():
                read(found, name, 1 << 16)
    except DocumentFailed:
        return  # anything else would show


def test_what_is_no_archive_is_a_broken_file() -> None:
    for data in (b"", b"PK\3\4", b"text", zipped({"a": b"b"})[:-10]):
        with pytest.raises(BrokenFile):
            entries_of(data)


def test_errors_of_who_uses_an_archive_pass_through() -> None:
    with pytest.raises(ZeroDivisionError), opened(io.BytesIO(zipped({}))):
        _ = 1 / 0
