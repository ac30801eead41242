"""LanceDB, imported without what it never needs here."""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

_CATALOGUE = "lance_namespace_urllib3_client"


def import_lancedb() -> ModuleType:
    """Import LanceDB without the HTTP client of its catalogues.

    That takes longer than all the rest. Only its types are needed, so a stand-in leads to them;
    whoever imports the client later gets all of it.
    """
    needless = None if {"lancedb", _CATALOGUE} & sys.modules.keys() else find_spec(_CATALOGUE)
    if needless is None:
        return import_module("lancedb")
    stand_in = ModuleType(_CATALOGUE)
    stand_in.__path__ = list(needless.submodule_search_locations or ())
    sys.modules[_CATALOGUE] = stand_in
    try:
        return import_module("lancedb")
    except ImportError:  # another release may need the client: what follows imports all of it
        pass
    finally:
        sys.modules.pop(_CATALOGUE, None)
    return import_module("lancedb")
