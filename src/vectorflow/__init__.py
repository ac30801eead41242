"""VectorFlow: any file into any vector database: nothing lost, nothing stale, paid once."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vectorflow.flow import AsyncFlow, Flow, aopen, open  # noqa: A004

__all__ = ["AsyncFlow", "Flow", "aopen", "open"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import the Python API when it is first named, so that `import vectorflow` costs nothing."""
    if name in __all__:
        return getattr(import_module("vectorflow.flow"), name)
    message = f"module 'vectorflow' has no attribute {name!r}"
    raise AttributeError(message)
