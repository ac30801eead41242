"""What kombu and the libraries below it raise, sorted into our errors."""

import ssl
from collections.abc import Iterator

from amqp.exceptions import MessageNacked
from kombu.connection import Connection
from kombu.exceptions import KombuError

from vectorflow.errors import InvalidSetting, KeyRefused, Unavailable, VectorFlowError

_REFUSED = {
    "AccessRefused",  # RabbitMQ: the account, or what it may not do
    "NotAllowed",  # RabbitMQ: the virtual host
    "AuthenticationError",  # Redis
    "AuthorizationError",
    "NoPermissionError",
    "AccessDeniedQueueException",  # SQS
    "NoCredentialsError",
    "PartialCredentialsError",
}
_REFUSED_BY_AWS = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "ExpiredToken",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_ODD = (AttributeError, LookupError, TypeError, ValueError)
"""kombu raises these where a connection breaks in the middle of something, and for messages that
are no envelopes of its own."""


def raised_by(connection: Connection) -> tuple[type[Exception], ...]:
    """List all that a broker that is away, or that refuses, may raise."""
    known = (*connection.connection_errors, *connection.channel_errors)
    more = _aws_errors() if connection.transport_cls == "sqs" else ()
    return (*known, OSError, KombuError, MessageNacked, *_ODD, *more)


def translated(error: Exception, place: str) -> VectorFlowError:
    """Say what happened, to which broker, and what to do."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _REFUSED or _aws_code(error) in _REFUSED_BY_AWS:
        fix = "check the account, its password and its rights, and VECTORFLOW_QUEUE__URL"
        return KeyRefused(f"the queue at {place} refuses this account", fix=fix)
    if "PreconditionFailed" in names:
        message = f"a queue of this name at {place} was made otherwise"
        fix = "delete it, or set another VECTORFLOW_QUEUE__PREFIX"
        return InvalidSetting(message, fix=fix)
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in _chain(error)):
        fix = "name the host as its certificate does, and trust who signed it (SSL_CERT_FILE)"
        return InvalidSetting(f"the certificate of the queue at {place} is not trusted", fix=fix)
    message = f"the queue at {place} does not answer ({type(error).__name__})"
    return Unavailable(message, fix="check that it runs, and VECTORFLOW_QUEUE__URL")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _aws_errors() -> tuple[type[Exception], ...]:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - only SQS needs it

    return (ClientError,)


def _aws_code(error: Exception) -> str:
    answer: object = getattr(error, "response", None)
    if not isinstance(answer, dict):
        return ""
    return str(answer.get("Error", {}).get("Code", ""))
