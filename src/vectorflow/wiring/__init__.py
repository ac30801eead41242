"""Settings -> a running worker, API or both; the only place that joins parts."""

from vectorflow.wiring.parts import Parts
from vectorflow.wiring.recipes import (
    capabilities,
    detect,
    make_cutters,
    make_embedder,
    make_recipe,
    store_locator,
)

__all__ = [
    "Parts",
    "capabilities",
    "detect",
    "make_cutters",
    "make_embedder",
    "make_recipe",
    "store_locator",
]
