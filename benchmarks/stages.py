"""CPU seconds of the stages of one process: what some functions take, by their threads' clocks."""

import functools
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import Any

STAGES: dict[str, tuple[str, ...]] = {
    "read and hash files": ("vectorflow.service.submit:_read_group",),
    "extract and cut": ("vectorflow.service.extract:_next",),
    "hash and plan chunks": ("vectorflow.service.extract:_planned",),
    "manifests": (
        "vectorflow.service.part_files:_encode",
        "vectorflow.service.part_files:_read_rows",
    ),
    "ledger": (
        "vectorflow.ledger.database:Database.write_now",
        "vectorflow.ledger.database:Database.read_now",
    ),
    "decode vectors": ("vectorflow.adapters._openai_answers:matrix_of_answer",),
    "make records": (
        "vectorflow.service.embed:_needed",
        "vectorflow.service.embed:_take",
        "vectorflow.service.embed:_records",
    ),
}
"""By name: functions that run in one thread from beginning to end, `module:name`."""


def watch() -> Counter[str]:
    """Measure the stages from now on; the counter fills while they run."""
    spent: Counter[str] = Counter()
    for stage, places in STAGES.items():
        for place in places:
            module, _, path = place.partition(":")
            owner: Any = import_module(module)
            *outer, name = path.split(".")
            for part in outer:
                owner = getattr(owner, part)
            setattr(owner, name, _timed(getattr(owner, name), stage, spent))
    return spent


def _timed(function: Callable[..., Any], stage: str, spent: Counter[str]) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*args: object, **kwargs: object) -> object:
        began = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[stage] += time.thread_time() - began

    return timed
