# ruff: noqa: E501 - documents are told apart best in one line
import io

import pytest

from vectorflow.adapters.extractors.html import HtmlExtractor
from vectorflow.domain.documents import Section, SectionKind


def _sections(html: str) -> list[Section]:
    return list(HtmlExtractor().extract(io.BytesIO(html.encode())))


def _table(html: str) -> str:
    (table,) = (one for one in _sections(html) if one.kind is SectionKind.TABLE)
    return table.text


def test_a_table_is_a_section_whose_first_row_names_the_columns() -> None:
    html = """before<table><caption>Prices</caption>
        <thead><tr><th>Fruit<th>Price</thead>
        <tr><td>apple <b>red</b><td>1 €<tr><td>pear<br>green<td>a|b<tfoot><tr><td>sum<td>3</table>after"""

    before, table, after = _sections(html)

    assert (before.text, after.text) == ("before\n\nPrices\n\n", "after\n\n")
    assert table.header == "| Fruit | Price |\n| --- | --- |\n"
    assert table.text == table.header + (
        "| apple red | 1 € |\n| pear green | a\\|b |\n| sum | 3 |\n\n"
    )


def test_cells_that_span_several_are_in_all_of_them() -> None:
    html = """<table><tr><th rowspan=2>City<th colspan=2>2023<th>2024
        <tr><th>spring<th>autumn<th>spring
        <tr><td rowspan="2">Bonn<td>1<td>2<td>3
        <tr><td colspan="3">none
        <tr><td>Köln<td>4</table>"""

    assert _table(html) == (
        "| City | 2023 | 2023 | 2024 |\n| --- | --- | --- | --- |\n"
        "| City | spring | autumn | spring |\n"
        "| Bonn | 1 | 2 | 3 |\n"
        "| Bonn | none | none | none |\n"
        "| Köln | 4 |\n\n"
    )


def test_a_row_that_spans_the_table_is_its_title() -> None:
    html = "<table><tr><th colspan=2>Fruit<tr><th>a<th>b<tr><td>1<td>2</table>"

    assert [section.text for section in _sections(html)] == [
        "Fruit\n\n",
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n\n",
    ]


def test_rows_of_a_name_and_a_value_are_lines() -> None:
    html = "<table><tr><th>Born<td>1815<tr><th>Died<td>1852</table>"

    assert [section.text for section in _sections(html)] == ["Born: 1815\nDied: 1852\n\n"]


@pytest.mark.parametrize(
    "cell",
    ["<table><tr><td>x</table>", "<h2>x</h2>", "<pre>x</pre>", "word " * 500],
    ids=["table", "heading", "code", "long text"],
)
def test_a_table_that_only_sets_things_side_by_side_is_read_through(cell: str) -> None:
    html = f"<table><tr><td>left<td>{cell}<tr><td>a<td>b</table>"

    sections = _sections(html)

    assert not [one for one in sections if one.kind is SectionKind.TABLE]
    assert sections[0].text.startswith("left\n\n")


@pytest.mark.parametrize(
    "html",
    [
        "<table><tr><td>one<tr><td>two</table>",
        "<table><tr><td>one<td>two</table>",
        '<table role="presentation"><tr><td>one<td><tr><td>two<td></table>',
    ],
)
def test_one_row_or_column_is_no_table(html: str) -> None:
    assert "".join(section.text for section in _sections(html)) == "one\n\ntwo\n\n"


def test_a_table_of_data_in_one_that_lays_out_is_a_table() -> None:
    html = "<table><tr><td><table><tr><td>a<td>b<tr><td>1<td>2</table></table>"

    assert _table(html) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n\n"


def test_hidden_rows_and_cells_are_left_out() -> None:
    html = """<table><tr><th>a<th hidden>no<th>b<tr style="display:none"><td>no<td>no
        <tr><td>1<td hidden>no<td>2</table>"""

    assert _table(html) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n\n"


def test_spans_do_not_make_a_table_larger_than_it_is() -> None:
    row = f'<tr><td colspan="1000">{"word " * 300}'

    sections = _sections(f"<table>{row * 100}</table>")

    assert sum(len(section.text) for section in sections) < 200_000
