"""The examples of the documentation run."""

import json
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.pages import ROOT, Block, blocks

EXAMPLES = ROOT / "examples"
PYTHON = blocks("python")


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_a_python_example_runs(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an empty folder with the files of `examples/documents` as `handbook`."""
    shutil.copytree(EXAMPLES / "documents", tmp_path / "handbook")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VECTORFLOW_EMBEDDER", "hash:64")

    exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})  # noqa: S102 - ours


def test_json_in_the_documentation_is_json() -> None:
    for block in blocks("json"):
        json.loads(block.text)


def _demo() -> ModuleType:
    spec = spec_from_file_location("demo", EXAMPLES / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_sentence_that_the_demonstration_changes_is_in_its_documents() -> None:
    demo = _demo()
    page = EXAMPLES / "documents" / demo.VISITORS.relative_to(demo.DOCUMENTS)

    assert page.read_text("utf-8").count(demo.RULE) == 1
    assert demo.NEW_RULE not in page.read_text("utf-8")


@pytest.mark.slow
def test_the_demonstration_finds_by_meaning_and_costs_nothing_twice(tmp_path: Path) -> None:
    """It lives beside a copy of its documents, so that it writes nothing into this checkout."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")

    first, second = (_run(tmp_path) for _ in range(2))

    assert "13 new, 0 changed, 0 unchanged" in first
    assert first.count("0 chunks embedded in 0 runs") == 2
    assert first.count("1 chunk embedded in 1 run of the model") == 1
    assert "0 new, 0 changed, 13 unchanged" in second
    assert second.count("0 chunks embedded in 0 runs") == 4
    for told in (first, second):
        assert told.index("If the main lamp goes out") < told.index("Lighting up")
        assert "Mercury" in told
        assert "dogs stay ashore: one of them ate a tern. They stay" in " ".join(told.split())


def _run(folder: Path) -> str:
    command = [sys.executable, str(folder / "examples" / "demo.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout
