"""Where the parts of source code begin, by its syntax: the one place that knows tree-sitter."""

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from tree_sitter import Language, Node, Parser, Tree

LONGEST_SECONDS: Final = 2.0
"""CPU time for one section, thirty times what real code takes; some nonsense would take minutes."""

_PIECE: Final = 1 << 16

DEEPEST: Final = 64
"""Parts inside of parts that are looked into; deeper ones are cut at lines."""


class _Grammar(NamedTuple):
    module: str
    function: str = "language"


GRAMMARS: Final[Mapping[str, _Grammar]] = MappingProxyType(
    {
        "bash": _Grammar("tree_sitter_bash"),
        "c": _Grammar("tree_sitter_c"),
        "cpp": _Grammar("tree_sitter_cpp"),
        "csharp": _Grammar("tree_sitter_c_sharp"),
        "go": _Grammar("tree_sitter_go"),
        "java": _Grammar("tree_sitter_java"),
        "javascript": _Grammar("tree_sitter_javascript"),
        "php": _Grammar("tree_sitter_php", "language_php"),
        "python": _Grammar("tree_sitter_python"),
        "ruby": _Grammar("tree_sitter_ruby"),
        "rust": _Grammar("tree_sitter_rust"),
        "tsx": _Grammar("tree_sitter_typescript", "language_tsx"),
        "typescript": _Grammar("tree_sitter_typescript", "language_typescript"),
    }
)

_ALSO: Final[Mapping[str, str]] = MappingProxyType(
    {
        "c#": "csharp",
        "c++": "cpp",
        "cc": "cpp",
        "cs": "csharp",
        "golang": "go",
        "js": "javascript",
        "jsx": "javascript",
        "mjs": "javascript",
        "py": "python",
        "python3": "python",
        "rb": "ruby",
        "rs": "rust",
        "sh": "bash",
        "shell": "bash",
        "ts": "typescript",
        "zsh": "bash",
    }
)
"""Names that people write above their code."""

_LEADING: Final = frozenset(
    {
        "attribute_item",
        "block_comment",
        "comment",
        "decorator",
        "line_comment",
    }
)
"""What belongs to the part below it, unless a blank line is between them."""

IsLarge = Callable[[int, int], bool]
"""Tells of a stretch of characters whether it is too large for a chunk."""


def parts(text: str, language: str, is_large: IsLarge) -> list[list[int]] | None:
    """Give where parts begin: those of the whole first, then those of large parts, and so on.

    Each begins a line. None where the language has no grammar, or the text takes it too long.
    """
    grammar = _language(_ALSO.get(language, language))
    data = text.encode("utf-8", "surrogatepass")
    tree = _parsed(grammar, data) if grammar else None
    if tree is None:
        return None
    outline = _Outline(data, is_large)
    outline.follow(tree.root_node)
    return outline.places()


def _parsed(grammar: Language, data: bytes) -> Tree | None:
    """Parse, in pieces, so that other threads get on; None if it takes too long."""
    ends = time.thread_time() + LONGEST_SECONDS
    try:
        return Parser(grammar).parse(
            lambda at, _: data[at : at + _PIECE],
            progress_callback=lambda _, __: time.thread_time() > ends,
        )
    except ValueError:  # what it raises when it is told to stop
        return None


@lru_cache(maxsize=len(GRAMMARS) * 2)
def _language(name: str) -> Language | None:
    grammar = GRAMMARS.get(name)
    if grammar is None:
        return None
    try:
        module = import_module(grammar.module)
    except ModuleNotFoundError:
        return None
    pointer: object = getattr(module, grammar.function)()
    return Language(pointer)


class _Outline:
    """Collects the parts of one tree, by how deep they lie."""

    def __init__(self, data: bytes, is_large: IsLarge) -> None:
        self._data = data
        self._is_large = is_large
        self._found: list[list[int]] = []
        begins = np.frombuffer(data, np.int8) > _LAST_CONTINUATION
        self._characters = np.concatenate([[0], np.cumsum(begins)])

    def follow(self, root: Node) -> None:
        """Look into a tree; not by recursion, as code can be nested without end."""
        left = [(root, 0, 0)]
        while left:
            node, level, depth = left.pop()
            inner = self._children(node, level)
            if depth < DEEPEST:
                left += [(child, below, depth + 1) for child, below in inner]

    def places(self) -> list[list[int]]:
        """Give the characters that parts begin at, for each level."""
        return [sorted({int(self._characters[at]) for at in level}) for level in self._found]

    def _children(self, node: Node, level: int) -> list[tuple[Node, int]]:
        """Note where the children of a node begin, and give the large ones with their level."""
        large: list[tuple[Node, int]] = []
        led = -1
        for child in node.named_children:
            begins = self._begins_line(child)
            if begins and child.start_point.row != led:
                self._note(level, child.start_byte)
            led = _row_below(child) if begins and child.type in _LEADING else -1
            if self._is_large(*(int(self._characters[at]) for at in child.byte_range)):
                large.append((child, level + (begins and not self._is_body(child))))
        return large

    def _note(self, level: int, at: int) -> None:
        while len(self._found) <= level:
            self._found.append([])
        self._found[level].append(at)

    def _begins_line(self, node: Node) -> bool:
        at = node.start_byte
        return not self._data[at - node.start_point.column : at].strip()

    def _is_body(self, node: Node) -> bool:
        """Tell a part that is nothing but parts, such as the statements of a function."""
        inner = node.named_children[:2]
        return (
            len(inner) > 1
            and inner[0].start_byte == node.start_byte
            and self._begins_line(inner[1])
        )


def _row_below(node: Node) -> int:
    """Give the line after a part; some take their line end with them."""
    row, column = node.end_point
    return row if column == 0 else row + 1


_LAST_CONTINUATION: Final = np.int8(-65)
"""In UTF-8 the bytes 0x80 to 0xBF go on with a character; all others begin one."""
