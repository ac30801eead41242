# ruff: noqa: RUF001 - letters of many scripts look alike
import io

import pytest

from vectorflow.adapters._text_decoding import BLOCK_BYTES, decoded
from vectorflow.errors import BinaryContent


def _decode(data: bytes) -> str:
    return "".join(decoded(io.BytesIO(data)))


def test_western_text_that_is_not_utf_8_is_read_as_cp1252() -> None:
    text = "Für 20 € ein “Döner” im Café – bitte sehr, der Herr."

    assert _decode(text.encode("cp1252")) == text


def test_one_wrong_byte_does_not_harm_the_utf_8_around_it() -> None:
    assert _decode("Ψυχή – ".encode() + b"\xe9" + " τέλος".encode()) == "Ψυχή – é τέλος"


def test_a_character_cut_off_at_the_end_loses_no_byte() -> None:
    assert _decode("Ende €".encode()[:-1]) == "Ende â‚"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_nul_is_named_by_its_byte(encoding: str) -> None:
    text = "\ufeff" + "é" * BLOCK_BYTES + "\0 end"

    with pytest.raises(BinaryContent) as caught:
        _decode(text.encode(encoding))

    at = len(text.partition("\0")[0].encode(encoding))
    assert caught.value.message == f"a NUL at byte {at}"


@pytest.mark.parametrize(
    ("data", "at"), [(b"\xff\xfea\0\0\xd8b\0", 4), (b"\xff\xfea\0b", 4), (b"\xff\xfe\0\0abcd", 4)]
)
def test_broken_wide_text_is_refused(data: bytes, at: int) -> None:
    with pytest.raises(BinaryContent, match=f"at byte {at}"):
        _decode(data)


def test_a_few_control_characters_are_text_and_many_are_not() -> None:
    few = "\x1b[31mred\x1b[0m " * 50 + "bell\x07"

    assert _decode(few.encode()) == few
    with pytest.raises(BinaryContent, match="the first at byte 3"):
        _decode(b"abc" + b"\x01\x02" * 20 + b"text")


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0"])
def test_a_byte_order_mark_alone_is_no_text(mark: bytes) -> None:
    assert list(decoded(io.BytesIO(mark))) == []
