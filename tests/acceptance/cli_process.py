"""Start the command line as people do: as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COMMAND = [sys.executable, "-m", "vectorflow.cli"]
CORPUS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a process said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        """Stdout, which must be one JSON object."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


def environment(**more: str) -> dict[str, str]:
    """An environment without settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VECTORFLOW_")}
    return kept | {"VECTORFLOW_EMBEDDER": "hash:384"} | more


def vectorflow(
    cwd: Path,
    *arguments: str,
    stdin: str = "",
    before: Sequence[str] = (),
    seconds: float = 100,
    **more: str,
) -> Ran:
    """Run a command to its end, behind what stands `before`; keywords are the environment."""
    done = subprocess.run(
        [*before, *COMMAND, *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        env=environment(**more),
        check=False,
        timeout=seconds,
    )
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr)


def write_corpus(folder: Path, count: int = CORPUS) -> Path:
    """Make a directory of small Markdown files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        text = f"# Page {number}\n\nThe answer to question {number} is {number * 7}.\n"
        (folder / f"page{number}.md").write_text(text)
    return folder
