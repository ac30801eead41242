"""Settings -> a running worker, API or both; the only place that joins parts."""

from vectorflow.wiring.parts import Parts
from vectorflow.wiring.queues import ask_queue
from vectorflow.wiring.recipes import (
    capabilities,
    detect,
    make_cutters,
    make_embedder,
    make_recipe,
    store_locator,
)
from vectorflow.wiring.sandboxes import examine_sandbox, make_sandbox

__all__ = [
    "Parts",
    "ask_queue",
    "capabilities",
    "detect",
    "examine_sandbox",
    "make_cutters",
    "make_embedder",
    "make_recipe",
    "make_sandbox",
    "store_locator",
]
