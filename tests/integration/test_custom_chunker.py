"""A function of the operator's own cuts: from settings to stored chunks, and nowhere else from."""

from dataclasses import replace
from pathlib import Path

import pytest

import vectorflow as vf
from vectorflow.adapters.chunkers import custom
from vectorflow.domain.jobs import JobState
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import InvalidInput
from vectorflow.settings import Settings, load
from vectorflow.wiring.recipes import capabilities, make_cutters, make_recipe
from vectorflow.wiring.sandboxes import make_sandbox

LINES = "def cut(text):\n    return text.splitlines()\n"


@pytest.fixture
def name(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(LINES, encoding="utf-8")
    return f"{path}:cut"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "texts"
    root.mkdir()
    (root / "a.txt").write_text("one two\ntri four\n", encoding="utf-8")
    return root


def _settings(chunker: str) -> Settings:
    return load({"chunking.chunker": chunker, "embedder": "hash:64"}, environ={})


def _pipeline(chunker: str) -> Pipeline:
    settings = _settings(chunker)
    recipe = make_recipe(settings)
    return Pipeline(recipe=recipe, embedder=settings.embedder, store="memory://x", index="i")


def test_chunks_are_what_the_function_says(tmp_path: Path, folder: Path, name: str) -> None:
    chunking = {"chunking.chunker": name}
    with vf.open(data_dir=tmp_path / "data", embedder="hash:64", **chunking) as flow:
        report = flow.embed(folder)
        again = flow.embed(folder)
        hits = flow.search("one two", k=5)

    assert (report.status, report.records) == (JobState.COMPLETED, 2)
    assert {hit.text for hit in hits} == {"one two", "tri four"}
    assert again.unchanged == 1


def test_an_edit_of_the_function_makes_documents_new(
    tmp_path: Path, folder: Path, name: str
) -> None:
    chunking = {"chunking.chunker": name}
    with vf.open(data_dir=tmp_path / "data", embedder="hash:64", **chunking) as flow:
        flow.embed(folder)
    (tmp_path / "mine.py").write_text("def cut(text):\n    return [text]\n", encoding="utf-8")
    custom.load.cache_clear()  # as in another process

    with vf.open(data_dir=tmp_path / "data", embedder="hash:64", **chunking) as flow:
        report = flow.embed(folder)

    assert (report.unchanged, report.changed, report.records) == (0, 1, 1)


def test_a_function_that_breaks_the_laws_fails_its_document(
    tmp_path: Path, folder: Path, name: str
) -> None:
    (tmp_path / "mine.py").write_text("def cut(text):\n    return [text[:3]]\n", encoding="utf-8")
    custom.load.cache_clear()
    chunking = {"chunking.chunker": name}

    with vf.open(data_dir=tmp_path / "data", embedder="hash:64", **chunking) as flow:
        report = flow.embed(folder)

    [failure] = report.failures
    assert failure.code == "bad_chunk"
    assert "characters 3 to" in failure.message
    assert failure.fix


def test_only_a_worker_whose_settings_name_the_function_is_able_to_cut(name: str) -> None:
    requires = _pipeline(name).recipe.requires

    assert requires[f"chunkers/{name}"] == custom.load(name).revision
    assert requires.items() <= capabilities(name).items()
    assert not requires.items() <= capabilities("default").items()


def test_a_name_that_comes_with_work_runs_no_code_of_this_machine(name: str) -> None:
    pipeline = _pipeline(name)
    recipe = pipeline.recipe
    other = replace(recipe, chunking=replace(recipe.chunking, chunker="os:system"))

    sandbox = make_sandbox(_settings(name))
    assert make_cutters(_settings(name), pipeline, sandbox).chunker
    for settings, asked in (
        (_settings("default"), pipeline),
        (_settings(name), replace(pipeline, recipe=other)),
    ):
        with pytest.raises(InvalidInput, match="is not the one of this machine's settings"):
            make_cutters(settings, asked, sandbox)
