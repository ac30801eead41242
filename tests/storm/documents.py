"""The documents of the storm, and how they change while it lasts."""

import random
from collections.abc import Sequence

from tests.acceptance import corpus

MARK = "Vantablackwater"
"""A word of every document: no log may hold it."""

WORDS = 200
"""Of a document: about ten chunks of `CHUNK_TOKENS`."""

CHUNK_TOKENS = 32

CHANGED = 0.10
GONE = 0.03
"""Shares of the documents that a round of edits changes and deletes; as many are added as go."""


def text_of(name: str, revision: int) -> str:
    """Text of a document, the same for the same name and revision."""
    return _framed(name, corpus.made_text((name, revision), WORDS))


def _framed(name: str, body: str) -> str:
    """Begin and end as no other text does, so that no two documents have a chunk in common."""
    return f"{MARK} of {name} begins. {body} The end of {name}."


def names(kind: str, count: int, *, since: int = 0) -> list[str]:
    """External ids, in a few folders."""
    return [f"{number % 7}/{kind}-{number:05}.txt" for number in range(since, since + count)]


def edited(name: str, text: str, chance: random.Random, step: int) -> str:
    """Write half of the documents anew, and put a sentence into the others."""
    if chance.random() < 0.5:
        return text_of(name, step)
    sentences = text.split(". ")
    sentences.insert(chance.randrange(1, len(sentences)), f"Edit {step} of {name} came in")
    return ". ".join(sentences)


def some(names: Sequence[str], share: float, chance: random.Random) -> list[str]:
    """Draw a share of the names, one at least."""
    return chance.sample(list(names), max(1, round(len(names) * share)))
