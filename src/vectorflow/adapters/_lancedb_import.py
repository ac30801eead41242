"""LanceDB, imported without what it never needs here."""

import ctypes
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

_CATALOGUE = "lance_namespace_urllib3_client"

_BOUNDS = {
    "LANCE_DEFAULT_IO_BUFFER_SIZE": str(8 << 20),
    "LANCE_DEFAULT_FRAGMENT_READAHEAD": "1",
    "LANCE_DEFAULT_BATCH_SIZE": "256",
}
"""What it reads at once: compacting took 700 MB for 140,000 records of 1536 numbers without them,

as its own bounds are those of large servers; with them it took 300.
"""

_MMAP_THRESHOLD = -3
"""The parameter of glibc's `mallopt`."""
_MAPPED_BYTES = 256 << 10
"""From here on memory is the system's again once it is freed. By itself glibc raises that up to

32 MB, and the buffers of some twenty threads leave holes: after 400,000 records were appended and
compacted a process held 470 MB, with this 240. Compacting takes twice as long.
"""


def import_lancedb() -> ModuleType:
    """Import LanceDB without the HTTP client of its catalogues.

    That takes longer than all the rest. Only its types are needed, so a stand-in leads to them;
    whoever imports the client later gets all of it. It reads little at once, unless the environment
    says otherwise.
    """
    for name, value in _BOUNDS.items():
        os.environ.setdefault(name, value)
    _keep_no_holes()
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


def _keep_no_holes() -> None:
    """Bound what this process holds of the memory that LanceDB has freed; other C libraries do."""
    if sys.platform == "linux" and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)
