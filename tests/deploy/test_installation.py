"""What the Dockerfile does to install, done here."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.deploy.dockerfile import ROOT, copied, stages, variables

pytestmark = pytest.mark.slow

CACHES = ("PIP_NO_CACHE_DIR", "UV_NO_CACHE")
"""Left out, so that nothing is fetched twice."""


def test_what_the_image_installs_works_and_writes_to_data_and_tmp_alone(tmp_path: Path) -> None:
    installed = _install(tmp_path)
    data, scratch, home = (tmp_path / name for name in ("data", "tmp", "home"))
    page = tmp_path / "page.md"
    page.write_text("# Refunds\n\nThey are paid within ten days.\n")
    for folder in (scratch, home):
        folder.mkdir()
    environ = {
        **{name: value for name, value in variables("vectorflow_api").items() if name != "PATH"},
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "VECTORFLOW_DATA_DIR": str(data),
        "VECTORFLOW_BLOBS__FREE_FLOOR_BYTES": "0",
    }
    before = _files(installed)

    version = _run([installed / "bin" / "vectorflow", "--version"], home, environ)
    _run([installed / "bin" / "vectorflow", "embed", str(page)], home, environ)
    found = _run([installed / "bin" / "vectorflow", "search", "money back"], home, environ)
    settings = _run([installed / "bin" / "gunicorn", "--version"], home, environ)

    assert version.startswith("vectorflow ")
    assert settings.startswith("gunicorn ")
    assert "ten days" in found
    assert _files(installed) == before
    assert list(home.iterdir()) == []


def _install(folder: Path) -> Path:
    """Run the steps of the Dockerfile on what it copies, with a Python of their own."""
    context, base, installed = folder / "build", folder / "base", folder / "vectorflow"
    for source in copied():
        target = context / source
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / source).is_dir() else shutil.copyfile)(ROOT / source, target)
    _run([sys.executable, "-m", "venv", base], folder, os.environ)
    environ = {name: value for name, value in variables("build").items() if name not in CACHES}
    environ |= {"VIRTUAL_ENV": str(installed), "PATH": f"{base / 'bin'}:{os.environ['PATH']}"}
    for step in stages()["build"].all("RUN"):
        here = step.replace("/usr/local/bin/python3", str(base / "bin" / "python"))
        here = here.replace("/opt/vectorflow", str(installed))
        _run(["/bin/sh", "-ec", here], context, os.environ | environ)
    return installed


def _run(command: list[str | Path], cwd: Path, environ: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}
