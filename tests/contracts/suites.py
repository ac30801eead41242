"""Runs a suite of `vectorflow.testing` against doubles that break its port."""

import inspect
from collections.abc import Callable, Mapping

import pytest


async def failures(suite: type, fixtures: Callable[[], Mapping[str, object]]) -> set[str]:
    """Run the tests of a suite, each with new fixtures, and name those that fail."""
    failed: set[str] = set()
    for name, test in inspect.getmembers(suite, inspect.isfunction):
        for arguments in _cases(test) if name.startswith("test_") else []:
            given = {"self": suite(), **fixtures(), **arguments}
            try:
                running = test(**{key: given[key] for key in inspect.signature(test).parameters})
                if inspect.isawaitable(running):
                    await running
            except Exception:  # noqa: BLE001 - however it fails, it fails
                failed.add(name)
            except BaseException as failure:  # pytest.raises that saw nothing
                if not isinstance(failure, pytest.fail.Exception):
                    raise
                failed.add(name)
    return failed


def _cases(test: Callable[..., object]) -> list[dict[str, object]]:
    """Give the arguments that `pytest.mark.parametrize` would."""
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            return [{mark.args[0]: value} for value in mark.args[1]]
    return [{}]
