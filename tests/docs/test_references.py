"""What the reference lists is what there is."""

import inspect
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT, anchors, blocks, code_spans, links, name_of
from vectorflow import errors, flow
from vectorflow.api.errors import status_of
from vectorflow.errors import VectorFlowError
from vectorflow.flow.chunks import Attachment
from vectorflow.ledger.reads import FailureView
from vectorflow.service.chunks import Chunk, ChunkSummary
from vectorflow.service.estimate import Estimate
from vectorflow.service.search import Hit, HitChunk, HitDocument
from vectorflow.settings import variables


def _tree(error: type[VectorFlowError]) -> Iterator[type[VectorFlowError]]:
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _tree(child)


ERRORS = list(_tree(VectorFlowError))
BESIDE_THE_TREE = {"usage", "interrupted", "unexpected", "listing_broke_off"}
"""Codes that the command line and jobs give without an error class."""


def _sections(page: Path) -> dict[str, str]:
    """Third-level sections by their heading, white space folded."""
    parts = re.split(r"^### `(\w+)`$", page.read_text("utf-8"), flags=re.MULTILINE)
    return {
        name: " ".join(body.split()) for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_every_error_is_explained(error: type[VectorFlowError]) -> None:
    section = _sections(DOCS / "reference" / "errors.md")[error.code]

    first_line = (inspect.getdoc(error) or "").splitlines()[0]
    status = status_of(error.__new__(error))
    assert section.startswith(f"{first_line} [{error.__name__}, {status}] What to do: ")
    assert len(section.partition("What to do: ")[2]) > 20


def test_no_error_is_explained_that_does_not_exist() -> None:
    explained = set(_sections(DOCS / "reference" / "errors.md"))

    assert explained == {error.code for error in ERRORS} | BESIDE_THE_TREE


def test_codes_beside_the_tree_are_in_the_code() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))

    assert [code for code in BESIDE_THE_TREE if f'"{code}"' not in source] == []


def test_every_plugin_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    installed = {
        (group.removeprefix("vectorflow."), name)
        for group, points in project["entry-points"].items()
        for name in points
    }
    page = (DOCS / "reference" / "plugins.md").read_text("utf-8")

    listed = re.findall(r"^\| (\w+) \| `(\w+)` \| .+ \| *([^|]*)\|$", page, re.MULTILINE)

    assert {(kind, name) for kind, name, _ in listed} == installed
    extras = {extra for *_, needs in listed for extra in re.findall(r"\[(\w+)\]", needs)}
    assert extras <= set(project["optional-dependencies"])


def test_every_setting_named_exists() -> None:
    known = set(variables().values()) | {"VECTORFLOW_CONFIG", "VECTORFLOW_TEST_REQUIRE"}
    known |= {"VECTORFLOW_API_KEY", "VECTORFLOW_SERVER"}  # short names of settings
    known |= {f"{name}_FILE" for name in variables().values()}
    known |= {"VECTORFLOW_TEST_POSTGRES_URL", "VECTORFLOW_TEST_MARIADB_URL"}
    known |= {"VECTORFLOW_TEST_EVERY_STOP"}
    for page in PAGES:
        named = set(re.findall(r"\bVECTORFLOW_[A-Z0-9_]*[A-Z0-9]\b", page.read_text("utf-8")))
        assert named - known == set(), name_of(page)


def test_every_dotted_setting_named_exists() -> None:
    sections = "|".join({name.partition(".")[0] for name in variables() if "." in name})
    wanted = re.compile(rf"(?:{sections})\.[a-z_]+")
    named = {(page, span) for page, span in code_spans() if wanted.fullmatch(span)}
    files = {"ledger.db", "worker.lock"}

    assert len(named) > 5
    assert [(page, span) for page, span in named if span not in {*variables(), *files}] == []


@pytest.mark.parametrize(
    "part",
    [
        flow.EmbedOptions,
        flow.Report,
        flow.Vectors,
        flow.Progress,
        flow.DocumentChunks,
        Attachment,
        Chunk,
        ChunkSummary,
        Estimate,
        Hit,
        HitDocument,
        HitChunk,
        FailureView,
    ],
)
def test_every_field_of_the_python_api_is_listed(part: type) -> None:
    page = (DOCS / "reference" / "python.md").read_text("utf-8")

    assert [item.name for item in fields(part) if f"`{item.name}`" not in page] == []


@pytest.mark.parametrize("face", [flow.Flow, flow.AsyncFlow])
def test_every_method_of_the_python_api_is_listed(face: type) -> None:
    page = (DOCS / "reference" / "python.md").read_text("utf-8")
    methods = [name for name in vars(face) if not name.startswith("_")]

    assert "embed" in methods
    assert [name for name in methods if not re.search(rf"^\| `{name}\b", page, re.MULTILINE)] == []


def test_every_name_of_the_package_is_listed() -> None:
    page = (DOCS / "reference" / "python.md").read_text("utf-8")

    names = import_module("vectorflow").__all__
    assert [name for name in names if name not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for source, target in links():
        if source != page:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert found.is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(found), target


def test_every_page_is_in_the_navigation() -> None:
    shown = set(
        re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    )
    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    through_their_list = {name for name in there if re.match(r"decisions/\d", name)}

    assert there - through_their_list == shown


def test_toml_in_the_documentation_is_toml() -> None:
    shown = blocks("toml")

    assert shown
    for block in shown:
        tomllib.loads(block.text)
