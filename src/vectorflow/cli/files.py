"""Files that commands write: whole or not there at all; `-` is stdout."""

import errno
import os
import secrets
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vectorflow.adapters._disk import sync_folder
from vectorflow.cli import options, output
from vectorflow.errors import InvalidInput, OutOfSpace, VectorFlowError

STDOUT = "-"


def path_for(option: str, name: str) -> Path:
    """Find where a file is to be, before any work is done.

    Raises:
        Refused: It cannot be there.
    """
    path = Path(os.path.realpath(name))
    shown = f"{option} {output.plain(name)!r}"
    if path.exists() and not path.is_file():
        raise options.Refused(f"{shown} is no file", fix="name a file")
    if not path.parent.is_dir():
        message = f"the folder of {shown} does not exist"
        raise options.Refused(message, fix="make it, or name another")
    return path


@contextmanager
def written(name: str, path: Path | None) -> Generator[BinaryIO]:
    """Open a file that replaces the one before when the block has ended; None is stdout.

    Raises:
        OutOfSpace, InvalidInput: It cannot be written; what was there is as it was.
    """
    if path is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            output.flush()  # a reader that has seen enough is no error
        return
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}~")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise _not_written(name, error) from error
    finally:
        draft.unlink(missing_ok=True)


def _not_written(name: str, error: OSError) -> VectorFlowError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return OutOfSpace(f"no room for {output.plain(name)!r}")
    message = f"cannot write {output.plain(name)!r}: {error.strerror}"
    return InvalidInput(message, fix="name a file that can be written; what is done is kept")
