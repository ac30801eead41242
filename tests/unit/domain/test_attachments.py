import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.domain.attachments import (
    MAX_ID_BYTES,
    MAX_NAME,
    SEPARATOR,
    attached_ids,
    attached_uri,
    clean_name,
)

odd_names = st.text(st.sampled_from("ab./\\ ()2\0\u202e\ud800\u0301e\u00e9"), max_size=20)
names = odd_names | st.text(max_size=400)


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "etc/passwd"),
        ("C:\\Users\\me\\a.doc", "C:/Users/me/a.doc"),
        ("//a//./b/", "a/b"),
        ("a\r\n\tb\0.txt", "a b .txt"),
        ("gnp.\u202etxt", "gnp. txt"),
        ("e\u0301.txt", "\u00e9.txt"),
        ("", "attachment"),
        (" .. ", "attachment"),
    ],
)
def test_a_name_is_printable_and_leads_nowhere_else(given: str, clean: str) -> None:
    assert clean_name(given) == clean


def test_a_long_name_keeps_its_suffix() -> None:
    assert clean_name("n" * 300 + ".pdf") == "n" * 251 + ".pdf"
    assert clean_name("n" * 300 + "." + "s" * 40) == "n" * 255


@given(name=names)
def test_a_clean_name_is_bounded_and_stays_as_it_is(name: str) -> None:
    clean = clean_name(name)

    assert clean_name(clean) == clean
    assert 0 < len(clean) <= MAX_NAME
    assert SEPARATOR not in clean
    assert clean.isprintable()
    clean.encode()


def test_two_of_one_name_are_numbered_in_order() -> None:
    found = attached_ids("m.eml", ["a.pdf", "a.pdf", "a (2).pdf", "a.pdf", "b"], taken=())

    assert found == [
        "m.eml//a.pdf",
        "m.eml//a (2).pdf",
        "m.eml//a (2) (2).pdf",
        "m.eml//a (3).pdf",
        "m.eml//b",
    ]


def test_an_id_that_somebody_else_has_is_passed_over() -> None:
    found = attached_ids("m.eml", ["x/a.pdf", "a.pdf"], taken={"m.eml//x/a.pdf", "m.eml//a.pdf"})

    assert found == ["m.eml//x/a (2).pdf", "m.eml//a (2).pdf"]


@given(outer=st.text(min_size=1, max_size=1024), given_names=st.lists(names, max_size=6))
def test_ids_differ_and_are_never_too_long(outer: str, given_names: list[str]) -> None:
    outer = outer.encode(errors="ignore").decode() or "o"

    found = attached_ids(outer, given_names, taken=())

    assert len(set(found)) == len(given_names)
    assert all(len(one.encode()) <= MAX_ID_BYTES for one in found)
    assert attached_ids(outer, given_names, taken=()) == found


def test_ids_that_are_too_long_differ_by_a_hash_of_the_whole() -> None:
    outer = "o" * 1020

    one, two = attached_ids(outer, ["a.pdf", "b.pdf"], taken=())

    assert one[:900] == two[:900] == outer[:900]
    assert one != two


def test_a_uri_leads_into_the_file() -> None:
    inner = attached_uri("file:///m.eml", "in ner.eml")

    assert inner == "file:///m.eml#in%20ner.eml"
    assert attached_uri(inner, "a#b.pdf") == "file:///m.eml#in%20ner.eml//a%23b.pdf"
