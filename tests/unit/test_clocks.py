"""Timers of a process use a clock that nobody can set."""

import ast
from pathlib import Path

import vectorflow

SOURCE = Path(vectorflow.__file__).parent

WALL_CLOCK = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "today")}

COMPARED_WITH_TIMES_OF_OTHERS = {
    "adapters/_cache_catalog.py",  # the age of what is kept on the disk
    "adapters/_http.py",  # a date that a server names
    "adapters/_openai_errors.py",  # likewise
    "adapters/_qdrant_collections.py",  # a turn that machines take, kept in Qdrant
    "adapters/blob_stores/files.py",  # the age of a file
    "adapters/vector_stores/lancedb.py",  # likewise
    "cli/output.py",  # a time of the ledger, shown to people
}


def test_the_wall_clock_is_read_only_where_times_of_others_are_compared() -> None:
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in WALL_CLOCK
        and not path.is_relative_to(SOURCE / "testing")
    }

    assert found == COMPARED_WITH_TIMES_OF_OTHERS
