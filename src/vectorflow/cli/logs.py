"""Logging: set up once, to stderr, for people or as JSON lines."""

import json
import logging
import sys
from datetime import UTC, datetime

from vectorflow.cli.output import plain

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


class Handler(logging.Handler):
    """Writes to whatever stderr is at that moment: a progress display may stand before it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            sys.stderr.write(f"{self.format(record)}\n")
        except OSError:
            self.handleError(record)


class Human(logging.Formatter):
    """Time, level, event, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Lay a record out."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = " ".join(f"{name}={plain(str(value))}" for name, value in facts(record).items())
        line = f"{time} {record.levelname.lower():<7} {record.getMessage()} {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Lay a record out."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        entry |= facts(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def configure(level: str, *, as_json: bool) -> None:
    """Log from this level on; what libraries tell of their daily work is left out."""
    handler = Handler()
    handler.setFormatter(JsonLines() if as_json else Human())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("alembic", "asyncio", "httpcore", "httpx", "uvicorn"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def facts(record: logging.LogRecord) -> dict[str, object]:
    """Give what was passed as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _OWN}
