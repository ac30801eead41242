"""Names of languages as people write them -> as sections have them."""

from collections.abc import Mapping

# fmt: off
_OTHER_NAMES: Mapping[str, str] = {
    "py": "python", "py3": "python", "python3": "python",
    "js": "javascript", "jsx": "javascript", "node": "javascript", "mjs": "javascript",
    "cjs": "javascript",
    "ts": "typescript",
    "golang": "go",
    "rs": "rust",
    "c++": "cpp", "cc": "cpp", "cxx": "cpp", "hpp": "cpp",
    "c#": "csharp", "cs": "csharp",
    "rb": "ruby",
    "sh": "bash", "shell": "bash", "zsh": "bash",
    "kt": "kotlin",
    "scss": "css", "less": "css",
    "postgresql": "sql", "mysql": "sql", "sqlite": "sql",
}
# fmt: on


def language(name: str) -> str:
    """Give the name that the extractor of its files has; others stay, in lower case."""
    found = name.strip().lower()
    return _OTHER_NAMES.get(found, found)
