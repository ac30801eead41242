"""What the page about backups says to type brings everything back."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.cli_process import COMMAND, CORPUS, environment, vectorflow, write_corpus
from tests.docs.pages import blocks
from tests.storm.postgres import Postgres

PAGE = "docs/how-to/back-up-and-move.md"


def lines_with(command: str) -> str:
    """Give the block of the page that has this command."""
    [found] = [block.text for block in blocks("sh") if block.page == PAGE and command in block.text]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where people type what the page says; some files are embedded, and a secret is sealed."""

    folder: Path
    given: Mapping[str, str] = field(default_factory=dict[str, str])
    programs: Sequence[Path] = ()
    """Where the shell looks for others."""

    def fill(self) -> None:
        write_corpus(self.folder / "docs")
        assert vectorflow(self.folder, "embed", "docs", **self.given).code == 0
        kept = vectorflow(self.folder, "secrets", "set", "memory", stdin="sk-canary", **self.given)
        assert kept.code == 0, kept.err

    def type(self, lines: str) -> str:
        """Run lines of a shell."""
        ours = self.folder / "bin" / "vectorflow"
        ours.parent.mkdir(exist_ok=True)
        ours.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
        ours.chmod(0o755)
        path = os.pathsep.join([*map(str, (ours.parent, *self.programs)), os.environ["PATH"]])
        ran = subprocess.run(
            ["/bin/sh", "-euc", lines],
            cwd=self.folder,
            env=environment(**self.given) | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr + ran.stdout
        return ran.stdout

    def check(self) -> None:
        """See that everything is back: records, documents, and what was sealed."""
        assert "up to date" in self.type(lines_with("vectorflow db check\nvectorflow reconcile"))
        opened = vectorflow(self.folder, "secrets", "rotate", "--json", **self.given)
        again = vectorflow(self.folder, "embed", "docs", "--json", **self.given)

        assert (opened.code, opened.json) == (0, {"resealed": 1, "unsealable": 0})
        assert (again.json["unchanged"], again.json["chunks_embedded"]) == (CORPUS, 0)


def test_a_data_directory_comes_back(tmp_path: Path) -> None:
    site = Site(folder=tmp_path)
    site.fill()

    site.type(lines_with("cp -a .vectorflow backup-of-vectorflow"))
    shutil.rmtree(tmp_path / ".vectorflow" / "blobs")
    site.type(lines_with("mv .vectorflow broken-vectorflow"))

    site.check()


@pytest.mark.slow
@pytest.mark.usefixtures("postgres_to_break")
def test_a_ledger_and_a_store_in_postgresql_come_back(tmp_path: Path) -> None:
    with Postgres() as postgres:
        given = {
            "VECTORFLOW_DATABASE__URL": postgres.make_database("ledger"),
            "VECTORFLOW_STORE": postgres.make_database("records"),
            "VECTORFLOW_DATA_DIR": str(tmp_path / "data"),
        }
        site = Site(folder=tmp_path, given=given, programs=[postgres.programs])
        assert vectorflow(tmp_path, "db", "upgrade", **given).code == 0
        site.fill()

        site.type(lines_with("pg_dump --format=custom --file"))
        shutil.rmtree(tmp_path / "data")
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
            for name in ("ledger", "records"):
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
                connection.execute(f'CREATE DATABASE "{name}"')
        site.type(lines_with("pg_restore --no-owner --dbname="))

        site.check()
