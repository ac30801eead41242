import pytest

from tests.extracted import sections_of, tables_of, text_of
from tests.office_files import archive, frame, line, pptx, shape
from vectorflow.adapters.extractors.pptx import PptxExtractor
from vectorflow.errors import BrokenFile

CELL = "<a:tc {}><a:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></a:txBody></a:tc>"


def _row(*cells: str, looks: tuple[str, ...] = ()) -> str:
    said = (*looks, *("",) * len(cells))
    written = (CELL.format(look, text) for look, text in zip(said, cells, strict=False))
    return f"<a:tr>{''.join(written)}</a:tr>"


def _text(*slides: str) -> str:
    return text_of(PptxExtractor(), pptx(list(slides)))


def test_slides_come_in_the_order_of_the_show_each_a_page_below_its_title() -> None:
    slides = [
        shape("Looms", "title") + shape("woven"),
        shape("Cards", "ctrTitle") + shape("punched"),
    ]

    sections = sections_of(PptxExtractor(), pptx(slides))

    assert [(one.page, one.headings, one.text) for one in sections] == [
        (1, ("Looms",), "# Looms\n\nwoven\n\n"),
        (2, ("Cards",), "# Cards\n\npunched\n\n"),
    ]


def test_a_slide_without_a_title_is_named_by_its_number_and_an_empty_one_left_out() -> None:
    sections = sections_of(
        PptxExtractor(), pptx([shape("Looms", "title"), "", shape("no title here")])
    )

    assert [(one.page, one.headings) for one in sections] == [(1, ("Looms",)), (3, ("Slide 3",))]


def test_a_title_comes_first_wherever_it_lies() -> None:
    assert _text(shape("below") + shape("Looms", "title")) == "# Looms\n\nbelow\n\n"


def test_notes_follow_below_their_slide() -> None:
    notes = {1: shape("Speak slowly", "body") + shape("1", "sldNum")}

    sections = sections_of(PptxExtractor(), pptx([shape("Looms", "title")], notes))

    assert (sections[-1].headings, sections[-1].page) == (("Looms", "Notes"), 1)
    assert sections[-1].text == "## Notes\n\nSpeak slowly\n\n"


def test_outlines_are_lists_and_other_shapes_only_where_they_say_so() -> None:
    numbered = '<a:buAutoNum type="alphaLcParenR"/>'
    outline = line("one") + line("deeper", lvl="1") + line("plain", "<a:buNone/>")
    listed = line("first", numbered) + line("second", numbered) + line("free")

    text = _text(shape(outline, "body") + shape(listed))

    assert text == ("# Slide 1\n\n- one\n  - deeper\n\nplain\n\na) first\nb) second\n\nfree\n\n")


def test_tables_have_a_header_and_fill_what_is_merged() -> None:
    rows = (
        _row("Name", "Size", "", looks=("", 'gridSpan="2"', 'hMerge="1"')),
        _row("Loom", "1", "2", looks=('rowSpan="2"',)),
        _row("", "3", "4", looks=('vMerge="1"',)),
    )

    sections = sections_of(PptxExtractor(), pptx([frame(f"<a:tbl>{''.join(rows)}</a:tbl>")]))

    assert tables_of(sections) == [
        [["Name", "Size", "Size"], ["Loom", "1", "2"], ["Loom", "3", "4"]]
    ]


def test_charts_give_their_values_as_a_table() -> None:
    c = "http://schemas.openxmlformats.org/drawingml/2006/chart"
    a = "http://schemas.openxmlformats.org/drawingml/2006/main"
    point = '<c:pt idx="{}"><c:v>{}</c:v></c:pt>'

    def points(name: str, *values: str, form: str = "General") -> str:
        inner = "".join(point.format(at, one) for at, one in enumerate(values))
        inner += f"<c:formatCode>{form}</c:formatCode>"
        return f"<c:{name}><c:numRef><c:numCache>{inner}</c:numCache></c:numRef></c:{name}>"

    def series(name: str, *values: str) -> str:
        named = (
            f"<c:tx><c:strRef><c:strCache>{point.format(0, name)}</c:strCache></c:strRef></c:tx>"
        )
        days = points("cat", "45292", "45293", form="d/m/yy")
        return f"<c:ser>{named}{days}{points('val', *values)}</c:ser>"

    title = f'<c:title><a:p xmlns:a="{a}"><a:r><a:t>Looms sold</a:t></a:r></a:p></c:title>'
    bars = series("Lyon", "4.2999999999999998", "2") + series("York", "1", "")
    chart = (
        f'<c:chartSpace xmlns:c="{c}"><c:chart>{title}<c:barChart>{bars}</c:barChart></c:chart>'
        "</c:chartSpace>"
    )
    shown = frame(f'<c:chart xmlns:c="{c}" r:id="rId-chart"/>')

    sections = sections_of(PptxExtractor(), pptx([shown], others={"chart": chart}))

    assert "Looms sold" in sections[0].text
    assert tables_of(sections) == [
        [["", "Lyon", "York"], ["2024-01-01", "4.3", "1"], ["2024-01-02", "2", ""]]
    ]


def test_diagrams_give_their_words() -> None:
    d = "http://schemas.openxmlformats.org/drawingml/2006/diagram"
    a = "http://schemas.openxmlformats.org/drawingml/2006/main"
    point = "<d:pt><d:t><a:p><a:r><a:t>{}</a:t></a:r></a:p></d:t></d:pt>"
    points = point.format("Spin") + point.format("Weave")
    data = f'<d:dataModel xmlns:d="{d}" xmlns:a="{a}"><d:ptLst>{points}</d:ptLst></d:dataModel>'
    shown = frame(f'<d:relIds xmlns:d="{d}" r:dm="rId-diagramData"/>')

    text = text_of(PptxExtractor(), pptx([shown], others={"diagramData": data}))

    assert text == "# Slide 1\n\n- Spin\n- Weave\n\n"


def test_groups_are_read_and_furniture_hidden_shapes_and_second_choices_are_not() -> None:
    mc = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    choice = (
        f"<mc:AlternateContent {mc}><mc:Choice>{shape('new')}</mc:Choice>"
        f"<mc:Fallback>{shape('old')}</mc:Fallback></mc:AlternateContent>"
    )
    slide = (
        f"<p:grpSp>{shape('grouped')}</p:grpSp>{choice}"
        f"{shape('hidden', looks='hidden=' + repr('1'))}"
        f"{shape('12', 'sldNum')}{shape('1 May', 'dt')}{shape('Engines Ltd', 'ftr')}"
    )

    assert _text(slide) == "# Slide 1\n\ngrouped\n\nnew\n\n"


def test_pictures_say_what_they_show() -> None:
    picture = '<p:pic><p:nvPicPr><p:cNvPr id="2" name="P" descr="A loom"/></p:nvPicPr></p:pic>'

    assert _text(picture) == "# Slide 1\n\nA loom\n\n"


def test_line_breaks_part_words() -> None:
    text = "<a:p><a:r><a:t>one</a:t></a:r><a:br/><a:r><a:t>two</a:t></a:r></a:p>"

    assert _text(shape(text)) == "# Slide 1\n\none\ntwo\n\n"


def test_the_presentation_says_who_wrote_it() -> None:
    (section,) = sections_of(PptxExtractor(), pptx([shape("seen")]))

    assert section.properties["author"] == "Ada Lovelace"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pptx([shape("seen")])[:-300], id="cut short"),
        pytest.param(archive({"a.txt": "hello"}), id="another archive"),
        pytest.param(pptx(["<p:sp>"]), id="damaged XML"),
    ],
)
def test_files_that_are_none_fail_with_a_reason(data: bytes) -> None:
    with pytest.raises(BrokenFile):
        sections_of(PptxExtractor(), data)
