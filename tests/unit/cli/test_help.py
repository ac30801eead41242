import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command
from vectorflow.cli.main import COMMANDS
from vectorflow.cli.reference import page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"

HEAVY = ("alembic", "fastapi", "lancedb", "numpy", "pyarrow", "pydantic", "rich", "sqlalchemy")


def test_the_page_of_the_command_line_is_what_help_prints() -> None:
    assert PAGE.read_text("utf-8") == page(), (
        "run: python -m vectorflow.cli.reference > docs/reference/cli.md"
    )


@pytest.mark.parametrize("arguments", [["--help"], ["embed", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from vectorflow.cli.main import run; "
        f"code = run({arguments!r}); "
        f"sys.exit(code or [name for name in {HEAVY!r} if name in sys.modules] or 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_is_listed_with_a_line_about_it(command: Command) -> None:
    ran = command("--help")

    listed = {line.split()[0] for line in ran.out.splitlines() if line.startswith("  ")}
    assert ran.code == 0
    assert listed >= set(COMMANDS)


def test_no_arguments_show_the_help_as_a_mistake(command: Command) -> None:
    ran = command()

    assert (ran.code, ran.out) == (2, "")
    assert "Usage: vectorflow" in ran.err
