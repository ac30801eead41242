from hypothesis import example, given
from hypothesis import strategies as st

from vectorflow.adapters._blocks import clean, line, row

CELLS = st.lists(st.text() | st.text("a |\n\t\x00é\u2028"), max_size=5)


@given(cells=CELLS)
@example(cells=["a  b"])
@example(cells=["a ", "b"])
@example(cells=["a", " b"])
def test_a_row_is_one_line_of_its_cells(cells: list[str]) -> None:
    expected = " | ".join(line(cell).replace("|", "\\|") for cell in cells)

    assert row(cells) == f"| {expected} |\n"


@example(text="a  b")
@example(text="a\tb")
@given(text=st.text() | st.text("a |\n\t\x00\x1cé\u00a0\u2028"))
def test_a_line_has_the_words_of_a_text_and_nothing_that_breaks_it(text: str) -> None:
    written = line(text)

    assert written.split() == clean(text).split()
    assert written == written.strip()
    assert "  " not in written
    assert not set(written) & set("\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")
