"""Texts to embed: real ones found on this machine, and small ones made of words."""

import ast
import random
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

REAL_FOLDERS = (Path("/usr/share/doc"), Path("/usr/share/perl"))
REAL_BYTES = 17_000
"""Of one text; longer ones are cut."""

WORDS = [
    "amber",
    "basin",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "haven",
    "inlet",
    "juniper",
    "kelp",
    "lagoon",
    "meadow",
    "north",
    "oasis",
    "prairie",
    "quarry",
    "ridge",
    "summit",
    "tundra",
    "upland",
    "valley",
    "willow",
    "xenon",
    "yarrow",
    "zephyr",
]


def write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write texts as files; what is there already stays."""
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8", newline="")


def made_text(seed: object, words: int) -> str:
    """Sentences and paragraphs of random words, the same for the same seed."""
    chance = random.Random(str(seed))  # noqa: S311 - texts, not secrets
    sentences: list[str] = []
    while words > 0:
        count = min(words, chance.randint(4, 14))
        sentences.append(" ".join(chance.choices(WORDS, k=count)).capitalize() + ".")
        words -= count
    breaks = (("\n\n" if chance.random() < 0.2 else " ") for _ in sentences)
    return "".join(sentence + gap for sentence, gap in zip(sentences, breaks, strict=True))


def made_texts(count: int, seed: object = 0, words: int = 60) -> dict[str, str]:
    """Small documents by name, in a few folders."""
    names = [f"{number % 5}/made-{number:04}.txt" for number in range(count)]
    return {name: made_text((seed, name), words) for name in names}


def made_book(chapters: int, words: int = 300) -> str:
    """A long Markdown document with a heading for each chapter."""
    texts = [f"# Chapter {number}\n\n{made_text(number, words)}\n" for number in range(chapters)]
    return "\n".join(texts)


def real_texts(count: int) -> dict[str, str]:
    """The first real texts of this machine, all different, about 5 MB for 300 of them."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for text in _candidates():
        cut = text[:REAL_BYTES]
        if len(cut) >= REAL_BYTES * 3 // 4 and cut not in seen:
            seen.add(cut)
            found[f"{len(found) % 7}/real-{len(found):04}.txt"] = cut
        if len(found) == count:
            return found
    pytest.skip(f"this machine has {len(found)} real texts of {REAL_BYTES} bytes, not {count}")


def _candidates() -> Iterator[str]:
    for folder in REAL_FOLDERS:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and REAL_BYTES <= path.stat().st_size < 1 << 20:
                yield from _decoded(path)
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" not in path.parts and path.stat().st_size > REAL_BYTES:
            yield from _docstrings(path)


def _decoded(path: Path) -> Iterator[str]:
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return
    is_plain = not text.lstrip().startswith("<")  # pages would be read as such
    if is_plain and "\0" not in text and "\r" not in text and not text.startswith("\ufeff"):
        yield text


def _docstrings(path: Path) -> Iterator[str]:
    """Everything a module says about itself, as one text."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    yield "\n\n".join(filter(None, map(ast.get_docstring, nodes)))
