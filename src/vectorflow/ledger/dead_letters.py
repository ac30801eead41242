"""Dead letters: why a document version was given up, as it is kept."""

from vectorflow.errors import Transient, VectorFlowError

DEAD_LETTER_MESSAGE = 1000
"""Characters of an error's message that are kept."""


def failure_json(error: VectorFlowError, *, stage: str, attempts: int) -> dict[str, object]:
    """Write a dead letter; `chunk` is the position of the chunk to blame, if one is."""
    return {
        "code": error.code,
        "message": error.message[:DEAD_LETTER_MESSAGE],
        "fix": error.fix,
        "stage": stage,
        "retryable": isinstance(error, Transient),
        "attempts": attempts,
        "chunk": getattr(error, "position", None),
    }
