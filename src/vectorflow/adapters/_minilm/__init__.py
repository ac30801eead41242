"""What both the `minilm` tokenizer and the `local` embedder know of all-MiniLM-L6-v2."""

import hashlib
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vectorflow.errors import Permanent

DIMENSIONS: Final = 384
CLS_ID: Final = 101
SEP_ID: Final = 102
MAX_POSITIONS: Final = 512
"""Tokens the model has positions for, `[CLS]` and `[SEP]` included."""

TOKENIZER_SHA256: Final = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

PROBE_TEXTS: Final = (
    "A bird in the hand is worth two in the bush.",
    "The committee approved the budget for the new railway line after a long debate.",
    "def area(radius): return 3.14159 * radius ** 2",
    "Whisk the eggs with the sugar until pale, fold in the flour, and bake for forty minutes.",
    "Which port does the database listen on, and how is it changed?",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Revenue grew by 12 % in the third quarter, while costs fell to 4.7 million.",
    "Rain is expected in the north tonight; tomorrow it will be sunny and mild, with light winds.",
)
"""A runtime is trusted once it turns these into `probe_vectors`."""


def tokenizer_json() -> str:
    """Read the model's tokenizer definition.

    Raises:
        Permanent: The file is not the one that shipped.
    """
    data = resources.files(__name__).joinpath("tokenizer.json").read_bytes()
    if hashlib.sha256(data).hexdigest() != TOKENIZER_SHA256:
        raise Permanent(
            "tokenizer.json of all-MiniLM-L6-v2 was changed", fix="reinstall VectorFlow"
        )
    return data.decode()


def encodable(text: str) -> str:
    """Replace lone surrogates, which no tokenizer takes, by one `?` each: offsets stay true."""
    return text.encode("utf-8", "replace").decode()


def probe_vectors() -> NDArray[np.float32]:
    """Read the unit vectors of the probe texts, computed with the float32 weights."""
    with resources.files(__name__).joinpath("probe.npy").open("rb") as file:
        vectors: NDArray[np.float32] = np.load(file, allow_pickle=False)
    return vectors
