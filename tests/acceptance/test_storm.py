"""A short storm, as `make storm` makes long ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SHORT = {
    "--documents": 60,
    "--seconds": 6,
    "--calm": 6,
    "--workers": 2,
    "--lease": 4,
    "--kill-every": 2,
    "--restart-every": 3,
    "--store-away": 2,
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("postgres_to_break")
@pytest.mark.parametrize("database", ["sqlite", "postgres", "mariadb"])
def test_every_invariant_holds_after_a_storm(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    if database == "mariadb":
        request.getfixturevalue("mariadb_to_break")
    options = [word for name, value in SHORT.items() for word in (name, str(value))]
    figures = tmp_path / "figures.json"

    done = subprocess.run(
        [sys.executable, "-m", "tests.storm", "--database", database, *options, "--json", figures],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    faults = json.loads(figures.read_text("utf-8"))["faults"]
    assert faults["workers killed"] >= 2
    assert faults["workers that stood still past their lease"] >= 1
    assert faults["seconds the store was away"] >= 2
    assert database == "sqlite" or faults["database restarts"] >= 1
    assert database == "sqlite" or faults["broker purges"] == 1
