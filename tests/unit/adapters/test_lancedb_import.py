"""LanceDB comes without the HTTP client of its catalogues, and whoever wants that still gets it."""

import subprocess
import sys


def answer(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_the_catalogue_client_is_not_imported() -> None:
    program = """
import sys
from vectorflow.adapters._lancedb_import import import_lancedb
lancedb = import_lancedb()
print(lancedb.__name__, "lance_namespace_urllib3_client.api" in sys.modules)
"""

    assert answer(program) == "lancedb False"


def test_whoever_imports_the_catalogue_client_later_gets_all_of_it() -> None:
    program = """
from vectorflow.adapters._lancedb_import import import_lancedb
import_lancedb()
import lance_namespace_urllib3_client as client
from lance_namespace import CreateTableRequest
print(client.TableApi.__name__, client.CreateTableRequest is CreateTableRequest)
"""

    assert answer(program) == "TableApi True"


def test_an_import_before_ours_is_left_alone() -> None:
    program = """
import lancedb
from vectorflow.adapters._lancedb_import import import_lancedb
print(import_lancedb() is lancedb)
"""

    assert answer(program) == "True"
