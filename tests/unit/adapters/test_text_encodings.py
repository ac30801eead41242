# ruff: noqa: RUF001 - letters of many scripts look alike
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.adapters._text_decoding import BLOCK_BYTES, WINDOW_BLOCKS, decoded
from vectorflow.errors import BinaryContent
from vectorflow.testing.chunkers import LANGUAGES, MULTILINGUAL
from vectorflow.testing.extractors import Trickle

FILES = Path(__file__).parents[2] / "files" / "text"

ENGLISH = "All human beings are born free and equal in dignity and rights. "

# Article 1 of the Universal Declaration of Human Rights.
POLISH = (
    "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni"
    " obdarzeni rozumem i sumieniem i powinni postępować wobec innych w duchu braterstwa."
)
CZECH = (
    "Všichni lidé se rodí svobodní a sobě rovní co do důstojnosti a práv. Jsou nadáni rozumem a"
    " svědomím a mají spolu jednat v duchu bratrství."
)
FRENCH = (
    "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de"
    " raison et de conscience et doivent agir dans un esprit de fraternité."
)
GERMAN = (
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und"
    " Gewissen begabt und sollen einander im Geiste der Brüderlichkeit begegnen. Schön für uns."
)
PORTUGUESE = (
    "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão e"
    " de consciência, devem agir uns para com os outros em espírito de fraternidade. Não é só isso."
)
TURKISH = (
    "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler"
    " ve birbirlerine karşı kardeşlik zihniyeti ile hareket etmelidirler."
)
RUSSIAN = (
    "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и"
    " совестью и должны поступать в отношении друг друга в духе братства."
)
GREEK = (
    "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. Είναι"
    " προικισμένοι με λογική και συνείδηση."
)
HEBREW = "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון."
ARABIC = "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا."
THAI = "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ"
JAPANESE = "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"
KOREAN = "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다."
SIMPLIFIED = "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。"
TRADITIONAL = (
    "人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心，並應以兄弟關係的精神互相對待。"
)

LEGACY = [
    ("cp1250", POLISH),
    ("iso8859-2", POLISH),
    ("cp1250", CZECH),
    ("iso8859-2", CZECH),
    ("latin-1", FRENCH),
    ("cp1252", GERMAN + " „20 €“ – so."),
    ("latin-1", PORTUGUESE),
    ("cp1254", TURKISH),
    ("cp1251", RUSSIAN),
    ("koi8-r", RUSSIAN),
    ("cp866", RUSSIAN),
    ("cp1253", GREEK),
    ("iso8859-7", GREEK),
    ("cp1255", HEBREW),
    ("cp1256", ARABIC),
    ("cp874", THAI),
    ("shift-jis", JAPANESE),
    ("euc-jp", JAPANESE),
    ("euc-kr", KOREAN),
    ("cp949", KOREAN + " 똠방각하"),
    ("gb2312", SIMPLIFIED),
    ("gb18030", SIMPLIFIED + "𠀀 €"),
    ("big5", TRADITIONAL),
]


def _decode(data: bytes) -> str:
    return "".join(decoded(io.BytesIO(data)))


@pytest.mark.parametrize(("encoding", "text"), LEGACY)
@pytest.mark.parametrize("before", ["", ENGLISH * 2, ENGLISH * 5000])
def test_one_paragraph_tells_its_encoding(encoding: str, text: str, before: str) -> None:
    assert _decode((before + text).encode(encoding)) == before + text


@pytest.mark.parametrize("name", sorted(path.stem for path in FILES.glob("*-utf8.txt")))
def test_real_files_of_east_asia_come_as_their_utf_8(name: str) -> None:
    expected = (FILES / f"{name}.txt").read_bytes()

    assert _decode((FILES / f"{name.removesuffix('-utf8')}.txt").read_bytes()) == expected.decode()


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    "text", [ENGLISH, RUSSIAN, GREEK, KOREAN, MULTILINGUAL, f"{SIMPLIFIED}\n{JAPANESE}\n", "ok"]
)
def test_wide_text_needs_no_mark(encoding: str, text: str) -> None:
    assert _decode(text.encode(encoding)) == text
    assert _decode((text * 3000).encode(encoding)) == text * 3000


@pytest.mark.parametrize(
    "data",
    [
        b"one\0two\0three.txt\0",
        b"path/to/a\0",
        bytes(range(256)),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"\x01\0\x02\0\x03\0\x04\0" * 20,
        b"\0" * 100,
        b"name\0\0\0\0\0\0\0\0",
        b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01",
        bytes(byte * 7 % 256 for byte in range(5000)),
    ],
)
def test_a_nul_makes_no_wide_text(data: bytes) -> None:
    with pytest.raises(BinaryContent, match="NUL"):
        _decode(data)


@pytest.mark.parametrize(
    "text", ["Où ça ?", "¿Qué?", "Mañana", "Das heißt: schön.", "há três", "fenêtre"]
)
def test_a_coin_is_not_tossed_over_a_few_letters(text: str) -> None:
    assert _decode((ENGLISH + text).encode("cp1252")) == ENGLISH + text


@pytest.mark.parametrize("text", [RUSSIAN, THAI, JAPANESE, GREEK])
@pytest.mark.parametrize("before", ["", ENGLISH * 3000])
def test_a_few_wrong_bytes_make_no_other_encoding_of_utf_8(text: str, before: str) -> None:
    data = before.encode() + text.encode() + b"\xe9\xe8\xe0\xfc\xef" + text.encode()

    assert _decode(data) == f"{before}{text}éèàüï{text}"


@pytest.mark.parametrize("every", [9, 16, 24])
def test_utf_8_with_bytes_missing_is_still_utf_8(every: int) -> None:
    text = LANGUAGES[5].encode()  # Hebrew: the detector takes it for windows-1251 then
    data = b"".join(text[at : at + every - 1] for at in range(0, len(text), every))

    assert _decode(data).startswith("כל ב")


def test_after_utf_8_nothing_else_is_guessed() -> None:
    before = "“" + ENGLISH * 3000

    with pytest.raises(BinaryContent, match="neither UTF-8 nor Western text"):
        _decode(before.encode() + (RUSSIAN * 3000).encode("cp1251"))


def test_what_does_not_fit_to_the_end_is_refused() -> None:
    text = (JAPANESE * 5000).encode("shift-jis")
    assert len(text) > BLOCK_BYTES * WINDOW_BLOCKS

    with pytest.raises(BinaryContent) as caught:
        _decode(text + b"\x82\xff")

    assert caught.value.message == f"broken CP932 at byte {len(text)}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_what_fits_no_guess_is_read_as_before() -> None:
    with pytest.raises(BinaryContent, match=r"control characters|neither UTF-8 nor Western"):
        _decode(JAPANESE.encode("shift-jis") * 3 + b"\x82\xff")


@pytest.mark.parametrize("encoding", ["shift-jis", "euc-jp"])
@pytest.mark.parametrize("shift", range(4))
def test_characters_across_blocks_are_whole(encoding: str, shift: int) -> None:
    text = ENGLISH * (BLOCK_BYTES // len(ENGLISH)) + "x" * shift + JAPANESE * 6000

    assert _decode(text.encode(encoding)) == text


@pytest.mark.parametrize("shift", range(3))
def test_the_first_character_beyond_ascii_may_lie_across_blocks(shift: int) -> None:
    before = "x" * (BLOCK_BYTES - shift)

    assert _decode((before + RUSSIAN).encode("cp1251")) == before + RUSSIAN
    assert _decode((before + RUSSIAN).encode()) == before + RUSSIAN


@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.sampled_from(LEGACY).map(lambda pair: pair[1].encode(pair[0])),
    ).flatmap(lambda data: st.integers(0, len(data)).map(lambda cut: data[cut:] + data[:cut])),
    steps=st.lists(st.integers(1, 40), min_size=1, max_size=4).map(tuple),
)
def test_any_bytes_give_the_same_however_they_are_read(data: bytes, steps: tuple[int, ...]) -> None:
    outcomes: list[object] = []
    for source in (io.BytesIO(data), Trickle(data, steps)):
        try:
            outcomes.append(list(decoded(source)))
        except BinaryContent as error:
            outcomes.append(error.message)

    assert outcomes[0] == outcomes[1]
    assert "\ufffd" not in "".join(outcomes[0])
