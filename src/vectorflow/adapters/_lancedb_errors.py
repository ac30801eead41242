"""LanceDB's errors in our terms."""

import contextlib
import re
from collections.abc import Generator

from vectorflow.errors import IndexLost, IndexRefused, OutOfSpace, Unavailable, VectorFlowError


class Conflict(Unavailable):
    """Another commit came first."""


@contextlib.contextmanager
def translated(index: str) -> Generator[None]:
    """Turn what LanceDB and the file system raise into our errors."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise _translation(index, error) from error


def _translation(index: str, error: Exception) -> VectorFlowError:
    """LanceDB's errors differ by their text only."""
    text = str(error)
    if isinstance(error, TimeoutError):
        return Unavailable(f"LanceDB took too long on index {index!r}")
    if re.search(r"No space left|os error (28|122)\b|Errno (28|122)\b", text):
        return OutOfSpace(f"no room on the disk for index {index!r}")
    if re.search(r"(os error|Errno) (1|13|30)\b", text):
        fix = "let this user write to the store's folder"
        return IndexRefused(f"the folder of index {index!r} may not be written", fix=fix)
    if isinstance(error, FileNotFoundError) or is_missing(error):
        return IndexLost(f"index {index!r} is not there")
    if "conflict" in text.lower():
        return Conflict(f"index {index!r} was changed by another process")
    return Unavailable(f"LanceDB failed on index {index!r}")


def is_missing(error: Exception) -> bool:
    """Whether a table or one of its files is not there."""
    return "was not found" in str(error) or "Not found" in str(error)
