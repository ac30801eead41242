"""What files inside of documents are called."""

from pathlib import PurePosixPath

from vectorflow.adapters._blocks import line

_SUFFIXES = {
    "application/json": ".json",
    "application/msword": ".doc",
    "application/pdf": ".pdf",
    "application/rtf": ".rtf",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/xml": ".xml",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "message/rfc822": ".eml",
    "text/calendar": ".ics",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/rtf": ".rtf",
    "text/x-patch": ".patch",
    "text/xml": ".xml",
}
"""Of attachments without a name; `mimetypes` would answer by what each machine has installed."""

_LOST = "\N{REPLACEMENT CHARACTER}"


def attachment_name(name: str, number: int, media_type: str) -> str:
    """Call an attachment as its mail does, without folders; one without a name by its number."""
    own = PurePosixPath(line(name).replace(_LOST, "").replace("\\", "/")).name
    if own.strip(". "):
        return own
    other = ".txt" if media_type.startswith("text/") else ".bin"
    return f"attachment-{number}{_SUFFIXES.get(media_type, other)}"
