"""Every error VectorFlow raises. The two families decide what a worker does.

VectorFlowError
├── Transient                try again, after `retry_after` seconds where it is known
│   ├── Throttled            asked to slow down; the attempt is refunded
│   ├── Unavailable          a store, database or provider does not answer
│   ├── LeaseLost            the batch belongs to somebody else now; drop the result
│   └── OutOfSpace           no room for what was sent; nothing was kept
└── Permanent                the same call would fail again
    ├── InvalidInput         refused at the door; the sentence says what to change
    │   ├── InvalidSetting
    │   ├── UnknownPlugin
    │   ├── MissingExtra
    │   ├── TooLarge
    │   ├── Unauthorized
    │   ├── Forbidden        the key is good, but not for this
    │   └── ForbiddenAddress an address that may not be called from here
    ├── NotFound
    ├── Conflict
    ├── Unsealable           a stored secret was sealed with another key
    ├── CallRefused          a provider, store or hook refused what we sent
    │   ├── KeyRefused       for its key: missing, wrong, or without credit
    │   ├── NotServed        it has no such model, or no such address
    │   ├── TooMuchAtOnce    it would take less in one request
    │   └── HookRefused      a webhook, validation hook or presigned URL
    ├── DocumentFailed       this document cannot be embedded; becomes its dead letter
    │   ├── EmptyDocument
    │   ├── BinaryContent
    │   ├── UnsupportedFormat
    │   ├── BrokenFile       damaged, cut short or not of the type it claims to be
    │   ├── EncryptedFile
    │   ├── LimitExceeded    it takes more memory, time or text than a document may
    │   ├── ExtractorCrashed
    │   ├── WorkersDied      again and again, also when it was worked on alone
    │   ├── UnreadableSource
    │   └── BadChunk         names the chunk
    └── IndexRefused         this index of the store is not ours to use
        ├── DimensionMismatch
        ├── FingerprintMismatch
        ├── ForeignIndex     another ledger owns it
        └── IndexLost        emptied or recreated behind our back; everything is embedded anew
"""

from typing import ClassVar


class VectorFlowError(Exception):
    """What happened, to which thing, and what to do (`fix`); never document text or secrets."""

    code: ClassVar[str] = "error"
    fix: str = ""
    system: str = ""
    """Kind of the system whose call failed: `provider`, `store` …; empty for no call of one."""

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix or self.fix

    @property
    def message(self) -> str:
        """The sentence without the fix."""
        return str(self.args[0])

    def __str__(self) -> str:
        return f"{self.message}; {self.fix}" if self.fix else self.message


class Transient(VectorFlowError):
    """Trying again later may succeed."""

    code = "transient"

    def __init__(self, message: str, *, fix: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, fix=fix)
        self.retry_after = retry_after
        """Seconds the other side asked us to wait; None when it did not say."""


class Throttled(Transient):
    """A provider or store asked us to slow down."""

    code = "throttled"


class Unavailable(Transient):
    """A store, database or provider does not answer."""

    code = "unavailable"


class LeaseLost(Transient):
    """Another worker holds the batch now; whatever we computed is dropped."""

    code = "lease_lost"


class OutOfSpace(Transient):
    """No room on the disk; nothing was kept."""

    code = "out_of_space"
    fix = "free some space, then run the same command again"


class Permanent(VectorFlowError):
    """The same call would fail again."""

    code = "permanent"


class InvalidInput(Permanent):
    """Refused at the door."""

    code = "invalid_input"


class InvalidSetting(InvalidInput):
    """A setting is unknown or has a value that cannot work."""

    code = "invalid_setting"


class UnknownPlugin(InvalidInput):
    """No plugin of that kind has that name."""

    code = "unknown_plugin"

    def __init__(self, kind: str, name: str, installed: list[str]) -> None:
        super().__init__(f"no {kind} named {name!r}; installed: {', '.join(sorted(installed))}")
        self.kind = kind
        self.name = name


class MissingExtra(InvalidInput):
    """The plugin is known, but the library it needs is not installed."""

    code = "missing_extra"

    def __init__(self, kind: str, name: str, extra: str) -> None:
        super().__init__(
            f"{kind} {name!r} needs a library that is not installed",
            fix=f"pip install 'vectorflow-engine[{extra}]'",
        )


class TooLarge(InvalidInput):
    """More bytes, parts or tokens than the limit allows."""

    code = "too_large"


class Unauthorized(InvalidInput):
    """The key is missing, unknown, expired or revoked."""

    code = "unauthorized"


class Forbidden(InvalidInput):
    """The key is known, but what it may do does not include this."""

    code = "forbidden"


class ForbiddenAddress(InvalidInput):
    """An address that users gave and that may not be called from here."""

    code = "forbidden_address"


class NotFound(Permanent):
    """No such job, document or index for this tenant."""

    code = "not_found"


class Conflict(Permanent):
    """Somebody else changed it first, or the same idempotency key came with another request."""

    code = "conflict"


class Unsealable(Permanent):
    """A stored secret was sealed with a key that is not at hand."""

    code = "unsealable"
    fix = "set the VECTORFLOW_SECRETS__KEY it was sealed with; older keys follow after a comma"


class CallRefused(Permanent):
    """A provider, store or hook refused what we sent; the same call would be refused again."""

    code = "call_refused"


class KeyRefused(CallRefused):
    """A provider or store refused our key: missing, wrong, without the right or out of credit."""

    code = "key_refused"


class NotServed(CallRefused):
    """A provider has no such model, or what answers at its address is no such provider."""

    code = "not_served"


class TooMuchAtOnce(CallRefused):
    """The request holds more texts, tokens or bytes than the other side takes; halves may pass."""

    code = "too_much_at_once"


class HookRefused(CallRefused):
    """A webhook, a validation hook or a presigned URL said no."""

    code = "hook_refused"


class DocumentFailed(Permanent):
    """This document cannot be embedded; its neighbours can."""

    code = "document_failed"


class EmptyDocument(DocumentFailed):
    """There is no text in it."""

    code = "empty_document"
    fix = "put text into it or remove it, then run the same command again"


class BinaryContent(DocumentFailed):
    """The bytes are not text."""

    code = "binary_content"
    fix = "send a file of a type that is read; text is best saved as UTF-8"


class UnsupportedFormat(DocumentFailed):
    """No extractor reads this kind of file, or the one that does is not installed."""

    code = "unsupported_format"
    fix = "convert it to a type that is read, such as PDF or DOCX, or leave it out"


class BrokenFile(DocumentFailed):
    """The bytes are damaged, cut short or not of the type they claim to be."""

    code = "broken_file"
    fix = "open and save it again with the program that made it"


class EncryptedFile(DocumentFailed):
    """It cannot be read without a password."""

    code = "encrypted_file"
    fix = "remove the password, then send it again"


class LimitExceeded(DocumentFailed):
    """Extracting it takes more than a document may; the message names the limit."""

    code = "limit_exceeded"

    def __init__(self, limit: str, message: str, *, fix: str = "") -> None:
        super().__init__(message, fix=fix or "split it, or leave it out")
        self.limit = limit
        """Name of the limit: memory, cpu, time, output, entries, ratio, depth, size, pages."""


class ExtractorCrashed(DocumentFailed):
    """The library that reads this type died on it, also in a fresh process."""

    code = "extractor_crashed"
    fix = "open and save it again with the program that made it, or leave it out"


class WorkersDied(DocumentFailed):
    """Workers died over this document, again and again, also when they worked on nothing else."""

    code = "workers_died"
    fix = "see in the log of the worker how it died; split the document, or leave it out"


class UnreadableSource(DocumentFailed):
    """The file or object cannot be read."""

    code = "unreadable_source"


class BadChunk(DocumentFailed):
    """One chunk is refused by the embedder or the store."""

    code = "bad_chunk"

    def __init__(self, message: str, *, position: int, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.position = position
        """Which chunk of the document, counted from 0."""


class IndexRefused(Permanent):
    """This index of the store cannot be used with these settings."""

    code = "index_refused"


class DimensionMismatch(IndexRefused):
    """The index holds vectors of another length."""

    code = "dimension_mismatch"

    def __init__(self, index: str, *, held: int, got: int) -> None:
        super().__init__(
            f"index {index!r} holds {held}-dimensional vectors, got {got}",
            fix="use another index name for another model",
        )


class FingerprintMismatch(IndexRefused):
    """The index was filled by another model; its vectors cannot be compared with ours."""

    code = "fingerprint_mismatch"

    def __init__(self, index: str, *, held: str, got: str) -> None:
        super().__init__(
            f"index {index!r} was embedded with {held}, asked for {got}",
            fix="use another index name for another model",
        )


class ForeignIndex(IndexRefused):
    """Another ledger owns this index."""

    code = "foreign_index"

    def __init__(self, index: str, *, owner: str) -> None:
        super().__init__(
            f"index {index!r} belongs to another ledger ({owner})",
            fix="share that ledger (VECTORFLOW_DATABASE__URL), or use another index name",
        )


class IndexLost(IndexRefused):
    """The store no longer has what the ledger wrote into this index."""

    code = "index_lost"
    fix = "run the same command again: every document is embedded anew"
