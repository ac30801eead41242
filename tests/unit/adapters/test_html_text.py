import pytest

from vectorflow.adapters._html_text import text_of


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("plain words", "plain words"),
        ("<p>one<p>two", "one\n\ntwo"),
        ("<div>one</div>\n<div>two<br>three</div>", "one\n\ntwo\nthree"),
        ("a <b>bold</b>\n  word, a <a href='x'>link</a>.", "a bold word, a link."),
        ("<ul><li>one<li>two</ul>after", "one\n\ntwo\n\nafter"),
        ("<table><tr><td>Qty<td>Price<tr><td>2<td>10</table>", "Qty | Price\n\n2 | 10"),
        ("<table><tr><td></td><td>laid out</td><td> </td></tr></table>", "laid out"),
        ("<pre>  kept\n  as is</pre>", "kept\nas is"),
        ("Caf&eacute;&nbsp;&amp; more &#x1F600;", "Café & more 😀"),
        ("<head><title>t</title><style>s{}</style></head><body>x<script>y()</script>", "x"),
        ('a<div style="display:none">secret<div hidden>more</div></div>b', "a\n\nb"),
        ("<div hidden><script>x</script><p hidden>y</p></div>seen", "seen"),
        ("<svg><title>t</title><text>x</text></svg>seen", "seen"),
        ("a\x02hidden?\x03 \x1eb", "ahidden? b"),
        ("<p>unclosed <b>tags <i>everywhere", "unclosed tags everywhere"),
        ("<o:p>&nbsp;</o:p>office", "office"),
    ],
)
def test_html_is_reduced_to_what_a_reader_sees(html: str, text: str) -> None:
    assert text_of(html) == text


def test_depth_does_no_harm() -> None:
    assert text_of("<div>" * 5_000 + "deep" + "</div>" * 5_000) == "deep"
    assert text_of("<span hidden>" * 5_000 + "deep") == ""
