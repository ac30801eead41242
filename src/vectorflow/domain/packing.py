"""Pack texts into requests: sorted by length, so that a model run wastes nothing on padding."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def pack_by_length(
    tokens: Sequence[int] | NDArray[np.int32], *, max_tokens: int, max_texts: int
) -> Iterator[NDArray[np.intp]]:
    """Give the positions of each request, the longest texts first.

    A request of n texts costs n times its longest text, because shorter ones are padded; that
    product stays within `max_tokens`. A text longer than `max_tokens` travels alone.
    """
    lengths = np.maximum(np.asarray(tokens, dtype=np.int64), 1)
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        count = max(1, min(max_texts, max_tokens // longest))
        yield order[start : start + count]
        start += count
