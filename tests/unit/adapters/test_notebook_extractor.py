# ruff: noqa: E501 - documents are told apart best in one line
import io
import json

import pytest

from vectorflow.adapters.extractors.ipynb import NotebookExtractor
from vectorflow.domain.documents import Section
from vectorflow.errors import BrokenFile, LimitExceeded


def _sections(notebook: object) -> list[Section]:
    data = notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode()
    return list(NotebookExtractor().extract(io.BytesIO(data)))


def _text(*cells: dict[str, object], metadata: object = None) -> str:
    notebook = {"nbformat": 4, "metadata": metadata or {}, "cells": cells}
    return "".join(section.text for section in _sections(notebook))


def _code(*outputs: dict[str, object]) -> dict[str, object]:
    return {"cell_type": "code", "source": ["x = 1\n", "x"], "outputs": outputs}


def _data(**forms: object) -> dict[str, object]:
    data = {name.replace("_", "/", 1): form for name, form in forms.items()}
    return {"output_type": "execute_result", "data": data}


def test_headings_of_text_cells_make_the_path() -> None:
    markdown = ["# Title #\n", "intro\n", "```sh\n", "# no heading\n", "```\n", "## Part\n", "more"]
    cells = [{"cell_type": "markdown", "source": markdown}, _code()]
    notebook = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"language": "Python"},
            "title": "T",
            "authors": [{"name": "Ada"}, {"name": "Bob"}, 3],
        },
    }

    sections = _sections(notebook)

    assert [(one.headings, one.text) for one in sections] == [
        (("Title",), "# Title\n\nintro\n```sh\n# no heading\n```\n\n"),
        (("Title", "Part"), "## Part\n\nmore\n\n```python\nx = 1\nx\n```\n\n"),
    ]
    assert sections[0].properties == {"title": "T", "author": "Ada, Bob"}


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ({"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]}, "a\nb"),
        ({"output_type": "stream", "name": "stderr", "text": "warning"}, ""),
        ({"output_type": "stream", "name": "stdout", "text": "\x1b[31mred\x1b[0m"}, "red"),
        ({"output_type": "stream", "name": "stdout", "text": "x" * 1001}, ""),
        ({"output_type": "error", "ename": "KeyError", "evalue": "'a'", "traceback": ["no"]}, "KeyError: 'a'"),
        (_data(text_plain="42"), "42"),
        (_data(text_plain=["a  b\n", "0  1"], text_html="<table>no</table>"), "a  b\n0  1"),
        (_data(text_plain="<Figure>", image_png="iVBOR"), ""),
        (_data(text_plain="<foo.Bar at 0x7f00aa>"), ""),
        (_data(text_markdown="**a**", text_plain="no"), "**a**"),
        (_data(application_json={"a": 1}), ""),
        ({"output_type": "pyout", "text": ["7"]}, "7"),
        ({"output_type": "pyout", "text": "no", "png": "iVBOR"}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_short_outputs_follow_their_code(output: dict[str, object], text: str) -> None:
    shown = f"```\n{text}\n```\n\n" if text else ""

    assert _text(_code(output)) == "```\nx = 1\nx\n```\n\n" + shown


def test_pictures_in_text_are_what_stands_for_them() -> None:
    text = "see ![a cat](data:image/png;base64,iVBOR) and ![b](attachment:b.png) ![c](c.png)"

    assert _text({"cell_type": "markdown", "source": text}) == "see a cat and b ![c](c.png)\n\n"


def test_notebooks_of_version_3_are_read() -> None:
    cells = [
        {"cell_type": "heading", "level": 2, "source": "H"},
        {"cell_type": "code", "language": "julia", "input": "1 + 1", "outputs": []},
        {"cell_type": "raw", "source": "raw"},
    ]

    (section,) = _sections({"nbformat": 3, "worksheets": [{"cells": cells}]})

    assert section.headings == ("H",)
    assert section.text == "## H\n\n```julia\n1 + 1\n```\n\nraw\n\n"


@pytest.mark.parametrize(
    "notebook",
    [
        {"cells": None},
        {"cells": [None, 1, [], {"cell_type": 5, "source": 7}, {"source": [1, None]}]},
        {"cells": [{"cell_type": "code", "source": {}, "outputs": [None, {"data": 3}, 4]}]},
        {"cells": [], "metadata": {"authors": 3, "kernelspec": [], "title": None}},
        {"worksheets": [3, {"cells": 4}]},
    ],
)
def test_strange_notebooks_are_read_as_far_as_they_can_be(notebook: object) -> None:
    assert _sections(notebook) == []


@pytest.mark.parametrize("data", [b"no json", b'{"cells": [', b"[]", b'{"a": 1}', b"3"])
def test_what_is_no_notebook_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenFile):
        _sections(data)


def test_what_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        _sections(b'{"cells": ' + b"[" * 100_000)
