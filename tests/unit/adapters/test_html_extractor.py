# ruff: noqa: E501 - documents are told apart best in one line
import io

import pytest

from vectorflow.adapters.extractors.html import HtmlExtractor
from vectorflow.domain.documents import Section, SectionKind


def _sections(html: str) -> list[Section]:
    return list(HtmlExtractor().extract(io.BytesIO(html.encode())))


def _text(html: str) -> str:
    return "".join(section.text for section in _sections(html))


def test_headings_make_the_path() -> None:
    html = "<p>before</p><h1>A</h1>one<h2>B <i>b</i></h2><p>two<h4>C</h4>three<h2>D</h2>four"

    assert [(section.headings, section.text) for section in _sections(html)] == [
        ((), "before\n\n"),
        (("A",), "# A\n\none\n\n"),
        (("A", "B b"), "## B b\n\ntwo\n\n"),
        (("A", "B b", "C"), "#### C\n\nthree\n\n"),
        (("A", "D"), "## D\n\nfour\n\n"),
    ]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>one <b>two</b>\n three&nbsp;<i>fo</i>ur</p>", "one two three four"),
        ("one<div>two<div>three</div>four</div>five", "one\n\ntwo\n\nthree\n\nfour\n\nfive"),
        ("<p>one<br>two<br/>\n three</p>", "one\ntwo\nthree"),
        ('<p>see <a href="/x?y=1">the page</a>.</p>', "see the page."),
        ('<p>a<img src="x.png" alt="a cat">b<img src="y.png" alt="">c</p>', "a a cat bc"),
        ("<p>5 &lt; 6 &amp;&amp; &eacute;&#x263a;&copy</p>", "5 < 6 && é☺©"),
        ("<p>Do<wbr>nau&shy;dampf&#8203;schiff</p>", "Donaudampf\u200bschiff"),
        ("<p>he said <q>no</q></p>", "he said “no”"),
        ("<button>Buy</button><button>Sell</button>", "Buy Sell"),
        ("<p>x<sup>2</sup> and H<sub>2</sub>O</p>", "x2 and H2O"),
        ("<p>unclosed <b>all <i>the way", "unclosed all the way"),
        ("<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby>", "漢かん"),
    ],
)
def test_running_text_is_what_a_reader_sees(html: str, text: str) -> None:
    assert _text(html).strip() == text


@pytest.mark.parametrize(
    "html",
    [
        "<script>let no = 1</script>",
        "<style>p { no: 1 }</style>",
        "<template><p>no</p></template>",
        "<noscript>no</noscript>",
        "<!-- no -->",
        "<p hidden>no</p>",
        '<div style="color: red; DISPLAY: none">no</div>',
        '<div style="display:none"><p>no<script>no</script></p></div>',
        '<span aria-hidden="true">no</span>',
        "<dialog>no</dialog>",
        "<svg><title>no</title><text>no</text></svg>",
        "<select><option>no</option></select>",
        '<textarea>no</textarea><input value="no">',
        "<iframe>no</iframe><object>no</object><video>no</video>",
        '<h2>seen <a class="headerlink" href="#x">no</a></h2>',
        '<h2>seen<span><a class="mark" href="#x" id="x">no</a></span></h2>',
    ],
)
def test_what_nobody_sees_is_left_out(html: str) -> None:
    assert "no" not in _text(f"<p>first</p>{html}<p>last</p>")
    assert _text(f"<p>first</p>{html}<p>last</p>").startswith("first")
    assert _text(f"<p>first</p>{html}<p>last</p>").endswith("last\n\n")


def test_what_is_folded_or_can_be_found_is_kept() -> None:
    html = '<details><summary>More</summary>folded</details><p hidden="until-found">found</p>'

    assert _text(html) == "More\n\nfolded\n\nfound\n\n"


def test_lists_are_lines_set_in_by_their_depth() -> None:
    html = """<p>Fruit:<ul><li>apple<li>pear<ol start="3"><li>green<p>and sweet</p><li>red</ol>
        <li></li><li><p>plum</p></ul><p>end"""

    assert _text(html) == (
        "Fruit:\n\n- apple\n- pear\n  3. green\n     and sweet\n  4. red\n- plum\n\nend\n\n"
    )


def test_quotes_are_marked() -> None:
    html = "<blockquote><p>one<br>two</p><ul><li>three</ul></blockquote>four"

    assert _text(html) == "> one\n> two\n\n> - three\n\nfour\n\n"


def test_terms_stay_with_what_explains_them() -> None:
    html = "<dl><dt>os.abort()<dd><p>Ends the process.</p><p>At once.</p><dt>a<dt>b<dd>both</dl>"

    assert _text(html) == "os.abort()\nEnds the process.\n\nAt once.\n\na\nb\nboth\n\n"


@pytest.mark.parametrize(
    ("html", "language"),
    [
        ("<pre>{}</pre>", ""),
        ('<pre><code class="hljs language-rust">{}</code></pre>', "rust"),
        ('<pre class="lang-c++">{}</pre>', "c++"),
        (
            '<div class="highlight-python3 notranslate"><div class="highlight"><pre>{}</pre></div></div>',
            "python",
        ),
        ('<div class="highlight highlight-source-shell"><pre>{}</pre></div>', "shell"),
        ('<pre class="brush: js">{}</pre>', "js"),
        ('<div class="highlight-default"><pre>{}</pre></div>', ""),
    ],
)
def test_code_keeps_its_lines_and_its_language(html: str, language: str) -> None:
    code = "<span>if</span> x:\n    <b>y</b>  &lt; 1<br>z"

    assert _text(html.format(code)) == f"```{language}\nif x:\n    y  < 1\nz\n```\n\n"


def test_long_code_is_a_section_of_its_own() -> None:
    code = "x = 1\n" * 500

    first, *_ = _sections(f'<pre class="language-python">{code}</pre><p>after')

    assert (first.kind, first.language, first.text) == (SectionKind.CODE, "python", code + "\n")


def test_formulas_are_their_tex_and_pictures_of_them_their_text() -> None:
    html = """<p>as <math><semantics><mrow><mi>E</mi></mrow>
        <annotation encoding="application/x-tex">E=mc^2</annotation></semantics></math>
        <span style="display: none;"><math><mi>x</mi></math></span><img aria-hidden="true" alt="x_1">
        <math><mi>y</mi></math></p>"""

    assert _text(html) == "as E=mc^2 x_1 y\n\n"


def test_a_heading_that_never_ends_is_no_longer_than_its_line() -> None:
    html = "<h1>Title<p>All of the rest<p>of the page"

    assert [section.headings for section in _sections(html)] == [("Title",)]
    assert _text(html) == "# Title\n\nAll of the rest\n\nof the page\n\n"


def test_a_text_in_large_letters_is_no_heading() -> None:
    assert [section.headings for section in _sections(f"<h1>{'word ' * 200}</h1>")] == [()]


_MENU = '<nav><ul><li><a href="/">Home</a><li><a href="/b">Books</a></ul></nav>'


def test_menus_are_left_out() -> None:
    html = f'{_MENU}<div role="navigation"><a href="/c">Cats</a></div><p>text'

    assert _text(html) == "text\n\n"


def test_a_menu_is_kept_when_there_is_nothing_else() -> None:
    assert _text(_MENU) == "- Home\n- Books\n\n"


def test_a_menu_that_tells_something_is_kept() -> None:
    html = '<nav><p>This book is about <a href="/cats">cats</a> and dogs.</p></nav><p>text'

    assert _text(html) == "This book is about cats and dogs.\n\ntext\n\n"


def test_of_a_page_that_names_its_main_content_that_is_kept_alone() -> None:
    main = f"<main><h1>A</h1><p>{'word ' * 50}</p></main>"

    assert _text(f"<header>Shop</header>{main}<footer>Imprint</footer>").startswith("# A\n\nword")
    assert "Imprint" not in _text(f"<header>Shop</header>{main}<footer>Imprint</footer>")


@pytest.mark.parametrize(
    "html",
    [
        "<header>Shop</header><main></main><p>{}</p>",
        "<header>Shop</header><main>loading</main><p>{}</p>",
        "<header>Shop</header><main>{}</main><main>{}</main>",
        "<header>Shop</header><article>{}</article>",
    ],
)
def test_a_page_that_does_not_say_clearly_keeps_everything(html: str) -> None:
    assert _text(html.replace("{}", "word " * 50)).startswith("Shop\n\n")


def test_references_to_characters_that_do_not_exist_leave_none() -> None:
    html = "<h1>T&#0;</h1><p>a&#xD800;b&#xFFFD;c</p><pre>d&#x110000;e</pre>"

    assert _text(html) == "# T\n\nabc\n\n```\nde\n```\n\n"
