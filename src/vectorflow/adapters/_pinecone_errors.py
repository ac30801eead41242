"""What Pinecone's client raises, as our errors."""

import contextlib
import re
from collections.abc import Generator

from pinecone.errors.exceptions import (
    ApiError,
    ConflictError,
    PineconeConnectionError,
    PineconeError,
    PineconeTimeoutError,
    RateLimitError,
    ResponseParsingError,
    ServiceError,
)

from vectorflow.errors import (
    CallRefused,
    DimensionMismatch,
    IndexLost,
    KeyRefused,
    Throttled,
    TooMuchAtOnce,
    Unavailable,
    VectorFlowError,
)

_TRANSIENT = (
    PineconeConnectionError,
    PineconeTimeoutError,
    ServiceError,
    ConflictError,
    ResponseParsingError,
    TimeoutError,
)
_KEY = {401, 402, 403}
_NOT_FOUND, _TOO_LARGE = 404, 413
_TRY_AGAIN = {408, 425}
_BAD_RECORD = {400, 422}
_DIMENSIONS = re.compile(r"dimension (\d+) does not match the dimension of the index (\d+)")


class RecordRefused(CallRefused):
    """Something in the request is not as it must be; a part of it may pass."""


@contextlib.contextmanager
def translated(index: str) -> Generator[None]:
    """Turn what the client raises into our errors; messages of its own may quote records."""
    try:
        yield
    except (PineconeError, TimeoutError) as error:
        raise _translation(index, error) from error


def _translation(index: str, error: Exception) -> VectorFlowError:
    if isinstance(error, RateLimitError):
        return Throttled("Pinecone asks to slow down", retry_after=error.retry_after)
    if isinstance(error, _TRANSIENT):
        return Unavailable(f"Pinecone does not answer as it should on index {index!r}")
    if isinstance(error, ApiError):
        return _refusal(index, error)
    return CallRefused(f"Pinecone's client refused a request to index {index!r}")


def _refusal(index: str, error: ApiError) -> VectorFlowError:
    status = error.status_code
    if status in _KEY:
        fix = "check the key, its rights and the account's credit"
        return KeyRefused(f"Pinecone refused the key for index {index!r} ({status})", fix=fix)
    if status == _NOT_FOUND:
        return IndexLost(f"index {index!r} is not there: Pinecone does not know it")
    if status == _TOO_LARGE:
        return TooMuchAtOnce(f"Pinecone takes less in one request to index {index!r}")
    if status in _TRY_AGAIN:
        return Unavailable(f"Pinecone was too busy for index {index!r}")
    if status not in _BAD_RECORD:
        return CallRefused(f"Pinecone refused a request to index {index!r} ({status})")
    return _refused_record(index, error)


def _refused_record(index: str, error: ApiError) -> VectorFlowError:
    if lengths := _DIMENSIONS.search(str(error)):
        return DimensionMismatch(index, held=int(lengths[2]), got=int(lengths[1]))
    return RecordRefused(f"Pinecone refused a record of index {index!r}")
