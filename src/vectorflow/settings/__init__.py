"""What can be set: one tree, from flags, the environment and `vectorflow.toml`, in this order.

`docs/reference/settings.md` is made of the tree's docstrings. The environment name of `api.port` is
VECTORFLOW_API__PORT.
"""

from vectorflow.settings.reading import Row, explain, load, redacted, variables
from vectorflow.settings.tree import ApiSettings, ChunkingSettings, Settings

__all__ = [
    "ApiSettings",
    "ChunkingSettings",
    "Row",
    "Settings",
    "explain",
    "load",
    "redacted",
    "variables",
]
