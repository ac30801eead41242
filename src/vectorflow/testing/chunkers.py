"""What every chunker must do, as tests: subclass `ChunkerSuite` and give its fixture."""

# ruff: noqa: RUF001 - letters of many scripts look alike

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vectorflow.domain.documents import Section, SectionKind
from vectorflow.domain.pipelines import Chunking
from vectorflow.errors import InvalidInput
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.tokenizer import Tokenizer, TokenOffsets

MakeChunker = Callable[[Tokenizer, Chunking], Chunker]
Unit = Literal["tokens", "characters"]

SUITES = (HealthCheck.differing_executors, HealthCheck.function_scoped_fixture)
"""A suite's tests are inherited, and one subject serves all examples: both are meant."""

LANGUAGES = (
    (
        "All human beings are born free and equal in dignity and rights. "
        "They are endowed with reason "
        "and conscience and should act towards one another in a spirit of brotherhood."
    ),
    (
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren. "
        "Sie sind mit Vernunft und "
        "Gewissen begabt und sollen einander im Geiste der Brüderlichkeit begegnen."
    ),
    "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
    (
        "Все люди рождаются свободными и равными в своем достоинстве и "
        "правах. Они наделены разумом и "
        "совестью и должны поступать в отношении друг друга в духе братства."
    ),
    (
        "يولد جميع الناس أحراراً متساوين في الكرامة والحقوق. وقد وهبوا عقلاً وضميراً وعليهم أن يعامل "
        "بعضهم بعضاً بروح الإخاء. أليس كذلك؟ بلى."
    ),
    "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    (
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। उन्हें बुद्धि और "
        "अन्तरात्मा की देन प्राप्त है।"
    ),
    "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    (
        "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 👍🏽 thumb, e\u0301 in two, \U0001d7d8 "
        "and \U00020000 beyond the "
        "first plane."
    ),
)
"""Article 1 of the Universal Declaration of Human Rights, and signs that are easily torn apart."""

CONTROL_TOKENS = "<|endoftext|> [CLS] [SEP] [PAD] [UNK] [MASK] <s> </s> <pad> <|im_start|>"

MULTILINGUAL = "\n\n".join(
    (*LANGUAGES, CONTROL_TOKENS, "x" * 300, "1. Dr. Who paid 3.14 to J. Doe.")
)


def texts(max_size: int = 400) -> st.SearchStrategy[str]:
    """Any Unicode text without NUL: runs of words, marks and white space of all kinds."""
    characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    awkward = st.sampled_from(
        [
            "\r\n",
            "\n\n",
            "\r",
            " ",
            "\t\u3000",
            "\u0301",
            "\u200d",
            "👩‍👧",
            "שלום",
            "。",
            ". ",
            "! ",
            "a" * 120,
        ]
    )
    pieces = st.one_of(
        st.text(characters, max_size=12), awkward, st.sampled_from(LANGUAGES), st.just("word ")
    )
    return st.lists(pieces, max_size=max_size // 10).map("".join)


TABLE_HEADER = "| name | price | note |\n| --- | --- | --- |\n"
TABLE_ROWS = "".join(
    f"| thing {n} | {n * 7 % 90}.50 | {'sold' if n % 3 else LANGUAGES[n % 12]} |\n"
    for n in range(48)
)
CODE = "\n".join(
    f'# number {n}\n@known\ndef add_{n}(value, other):\n    """Add {n}."""\n'
    f"    total = value + other + {n}\n    if total > {n}:\n        return -total\n"
    f"    return total\n\n"
    for n in range(12)
)


def sections(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Section]:
    """Sections of every kind, the text of which has little to do with it."""
    headers = st.sampled_from(["", "a\tb\n", TABLE_HEADER, "| " + "long name " * 40 + "|\n"])
    return st.builds(
        _section_of,
        text=texts,
        kind=st.sampled_from(SectionKind),
        header=headers,
        begins=st.booleans(),
        language=st.sampled_from(["", "python", "cpp", "php", "bash", "no such"]),
    )


def _section_of(
    text: str, kind: SectionKind, header: str, language: str, *, begins: bool
) -> Section:
    of_table = header if kind is SectionKind.TABLE else ""
    of_code = language if kind is SectionKind.CODE else ""
    whole = of_table + text if begins else text
    return Section(text=whole, start=0, kind=kind, header=of_table, language=of_code)


class PieceTokenizer(Tokenizer):
    """A double: runs of up to four letters or digits, and every other visible character."""

    revision: ClassVar[int] = 1

    def offsets(self, text: str) -> TokenOffsets:
        pieces = [match.span() for match in re.finditer(r"[^\W_]{1,4}|[\W_](?<!\s)", text)]
        columns = np.array(pieces, dtype=np.int32).reshape(-1, 2)
        return TokenOffsets(columns[:, 0], columns[:, 1])


class ByteTokenizer(Tokenizer):
    """A double: a token per UTF-8 byte, as the worst of byte-level vocabularies would do."""

    revision: ClassVar[int] = 1

    def offsets(self, text: str) -> TokenOffsets:
        starts = np.repeat(np.arange(len(text)), [len(char.encode()) for char in text] or 0)
        return TokenOffsets(starts.astype(np.int32), (starts + 1).astype(np.int32))


def chunks_of(section: Section, spans: Spans) -> list[str]:
    """Give what each chunk of a section says, its header included where that is repeated."""
    starts, ends = spans.starts.tolist(), spans.ends.tolist()
    repeats = [False] * len(starts) if spans.repeats is None else spans.repeats.tolist()
    return [
        section.header * again + section.text[start:end]
        for start, end, again in zip(starts, ends, repeats, strict=True)
    ]


def check_spans(
    section: Section, spans: Spans, tokenizer: Tokenizer, size: int, *, unit: Unit = "tokens"
) -> None:
    """Assert the laws of the port on the chunks of one section."""
    text = section.text
    assert len(spans.starts) == len(spans.ends) == len(spans.tokens)
    assert [column.dtype for column in spans[:3]] == [np.int64, np.int64, np.int32]
    bounds = list(zip(spans.starts.tolist(), spans.ends.tolist(), strict=True))
    assert all(0 <= start < end <= len(text) for start, end in bounds), "a chunk out of bounds"
    trimmed = all(text[start:end].strip() == text[start:end] for start, end in bounds)
    assert trimmed, "white space around a chunk"
    assert np.all(np.diff(spans.starts) > 0), "chunks are not in order"
    assert np.all(np.diff(spans.ends) > 0), "a chunk lies in another"
    covered = np.zeros(len(text), dtype=bool)
    for start, end in bounds:
        covered[start:end] = True
    lost = [at for at in np.flatnonzero(~covered).tolist() if not text[at].isspace()]
    assert not lost, f"characters in no chunk: {lost[:5]}"
    _check_repeats(section, spans)
    held = [len(tokenizer.offsets(chunk).starts) for chunk in chunks_of(section, spans)]
    assert spans.tokens.tolist() == held, "a wrong number of tokens"
    sizes = held if unit == "tokens" else [end - start for start, end in bounds]
    assert max(sizes, default=0) <= size, "a chunk is too large"


def _check_repeats(section: Section, spans: Spans) -> None:
    if spans.repeats is None:
        return
    assert section.header, "a header comes again that is none"
    assert spans.repeats.dtype == np.bool_
    assert len(spans.repeats) == len(spans.starts)
    again = spans.starts[spans.repeats].tolist()
    twice = [start for start in again if section.text.startswith(section.header, start)]
    assert not twice, "a header comes before itself"


class ChunkerSuite:
    """The laws of the port on generated and real text."""

    name: ClassVar[str]
    unit: ClassVar[Unit] = "tokens"
    """What `size` and `overlap` count."""
    golden: ClassVar[Mapping[int, str]]
    """What `digest` gives for each revision there ever was."""
    golden_kinds: ClassVar[Mapping[int, str]]
    """The same for a table and for code."""

    @pytest.fixture
    def make(self) -> MakeChunker:
        """Give what makes the chunker: its class."""
        raise NotImplementedError

    @given(text=texts(), size=st.integers(8, 40), share=st.integers(0, 9))
    @settings(max_examples=150, deadline=None, suppress_health_check=SUITES)
    def test_any_text_is_cut_by_the_laws(
        self, make: MakeChunker, text: str, size: int, share: int
    ) -> None:
        tokenizer = PieceTokenizer()
        chunker = make(tokenizer, self._chunking(size, size * share // 10))

        section = Section(text=text, start=0)
        spans = chunker.chunk(section)

        check_spans(section, spans, tokenizer, size, unit=self.unit)
        assert (len(spans.starts) == 0) == (text.strip() == "")

    @given(section=sections(texts()), size=st.integers(8, 90))
    @settings(max_examples=60, deadline=None, suppress_health_check=SUITES)
    def test_tables_and_code_are_cut_by_the_laws(
        self, make: MakeChunker, section: Section, size: int
    ) -> None:
        tokenizer = PieceTokenizer()

        spans = make(tokenizer, self._chunking(size, size // 8)).chunk(section)

        check_spans(section, spans, tokenizer, size, unit=self.unit)

    @pytest.mark.parametrize(("size", "overlap"), [(32, 0), (32, 4), (64, 8), (40, 30)])
    def test_no_more_comes_again_than_was_asked_for(
        self, make: MakeChunker, size: int, overlap: int
    ) -> None:
        text = "\n".join(
            f"Line {n} says it. Is it so, {n}?" + "\n" * (n % 4 == 0) for n in range(90)
        )
        tokenizer = PieceTokenizer()

        spans = make(tokenizer, self._chunking(size, overlap)).chunk(Section(text=text, start=0))

        starts, _ = tokenizer.offsets(text)
        for begin, end in zip(spans.starts[1:].tolist(), spans.ends[:-1].tolist(), strict=True):
            units = (
                end - begin
                if self.unit == "characters"
                else np.sum((starts >= begin) & (starts < end))
            )
            assert units <= overlap

    @given(text=texts(), size=st.integers(8, 40))
    @settings(max_examples=60, deadline=None, suppress_health_check=SUITES)
    def test_tokens_inside_of_characters_part_none(
        self, make: MakeChunker, text: str, size: int
    ) -> None:
        tokenizer = ByteTokenizer()

        section = Section(text=text, start=0)
        spans = make(tokenizer, self._chunking(size, size // 8)).chunk(section)

        check_spans(section, spans, tokenizer, size, unit=self.unit)

    @pytest.mark.parametrize(("size", "overlap"), [(16, 0), (16, 2), (64, 8), (254, 31), (32, 24)])
    def test_real_text_of_many_scripts_is_cut_by_the_laws(
        self, make: MakeChunker, size: int, overlap: int
    ) -> None:
        tokenizer = PieceTokenizer()

        spans = make(tokenizer, self._chunking(size, overlap)).chunk(_section())

        check_spans(_section(), spans, tokenizer, size, unit=self.unit)
        assert len(spans.starts) > len(tokenizer.offsets(MULTILINGUAL).starts) // size

    def test_no_chunk_begins_with_a_mark_that_belongs_to_the_letter_before(
        self, make: MakeChunker
    ) -> None:
        text = "e\u0301" * 50 + "👍🏽" * 50 + "क्षि" * 50

        spans = make(ByteTokenizer(), self._chunking(40, 5)).chunk(Section(text=text, start=0))

        firsts = {text[start] for start in spans.starts.tolist()}
        assert {"e", "👍", "क"} <= firsts <= {"e", "👍", "क", "ष"}

    @pytest.mark.parametrize("text", ["", " ", "\n\r\n\t\u3000" * 500])
    def test_white_space_alone_gives_no_chunk(self, make: MakeChunker, text: str) -> None:
        spans = make(PieceTokenizer(), self._chunking(16, 2)).chunk(Section(text=text, start=7))

        assert [len(column) for column in spans[:3]] == [0, 0, 0]

    def test_text_that_fits_is_one_chunk(self, make: MakeChunker) -> None:
        text = "  Two short sentences. They fit.\n"

        spans = make(PieceTokenizer(), self._chunking(40, 5)).chunk(Section(text=text, start=0))

        assert [column.tolist() for column in spans[:3]] == [[2], [len(text) - 1], [10]]

    def test_the_same_section_gives_the_same_chunks(self, make: MakeChunker) -> None:
        first, second = (
            make(PieceTokenizer(), self._chunking(32, 4)).chunk(_section()) for _ in range(2)
        )

        assert len(first.starts) > 10
        expected = [column.tolist() for column in first[:3]]
        assert [column.tolist() for column in second[:3]] == expected

    def test_what_looks_like_a_control_token_is_plain_text(self, make: MakeChunker) -> None:
        chunker = make(PieceTokenizer(), self._chunking(254, 31))

        spans = chunker.chunk(Section(text=CONTROL_TOKENS, start=0))

        assert [spans.starts.tolist(), spans.ends.tolist()] == [[0], [len(CONTROL_TOKENS)]]

    @pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-1, 0), (8, 8), (8, 9), (8, -1)])
    def test_sizes_that_cannot_work_are_refused(
        self, make: MakeChunker, size: int, overlap: int
    ) -> None:
        with pytest.raises(InvalidInput) as caught:
            make(PieceTokenizer(), self._chunking(size, overlap))

        assert caught.value.fix

    def test_output_changes_only_with_the_revision(self, make: MakeChunker) -> None:
        chunker = make(PieceTokenizer(), self._chunking(32, 4))

        digest = self.digest(chunker.chunk(_section()))

        self._check_known("golden", chunker.revision, digest)

    def test_output_for_tables_and_code_changes_only_with_the_revision(
        self, make: MakeChunker
    ) -> None:
        chunker = make(PieceTokenizer(), self._chunking(96, 12))

        digests = [self.digest(chunker.chunk(section)) for section in (_table(), _code())]

        self._check_known("golden_kinds", chunker.revision, " ".join(digests))

    @classmethod
    def _check_known(cls, where: str, revision: int, digest: str) -> None:
        known: Mapping[int, str] = getattr(cls, where)
        assert digest == known.get(revision), (
            "these chunks differ from those of this revision: raise `revision` by one, "
            f"and add {{{revision + 1}: {digest!r}}} to `{where}`"
        )

    @staticmethod
    def digest(spans: Spans) -> str:
        """Hash spans."""
        rows = np.stack([spans.starts, spans.ends, spans.tokens.astype(np.int64)]).astype("<i8")
        repeats = b"" if spans.repeats is None else spans.repeats.tobytes()
        return hashlib.blake2b(rows.tobytes() + repeats, digest_size=8).hexdigest()

    def _chunking(self, size: int, overlap: int) -> Chunking:
        return Chunking(chunker=self.name, size=size, overlap=overlap)


def _section() -> Section:
    return Section(text=MULTILINGUAL, start=0)


def _table() -> Section:
    text = TABLE_HEADER + TABLE_ROWS
    return Section(text=text, start=0, kind=SectionKind.TABLE, header=TABLE_HEADER)


def _code() -> Section:
    return Section(text=CODE, start=0, kind=SectionKind.CODE, language="python")
