"""`--out`: the records of an embed as a file, whole or not there at all."""

import errno
import os
import secrets
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import click

from vectorflow.adapters._disk import sync_folder
from vectorflow.cli import options, output
from vectorflow.errors import InvalidInput, OutOfSpace, VectorFlowError

if TYPE_CHECKING:
    import pyarrow as pa

    from vectorflow.service.vector_formats import Format

F = TypeVar("F", bound=Callable[..., object])

STDOUT = "-"

_GIVEN = "vectorflow.out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Out:
    """Where records are written to, and how."""

    name: str
    """As given."""
    path: Path | None
    """None for stdout."""
    form: "Format"


def option(command: F) -> F:
    """Add `--out`."""

    def keep(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        ctx.meta[_GIVEN] = value

    add = click.option(
        "--out",
        metavar="FILE",
        callback=keep,
        expose_value=False,
        help="Write the records with their vectors too: FILE.ndjson, .jsonl, .arrow or .parquet;"
        " - is stdout.",
    )
    return add(command)


def asked_for(sources: Sequence[str], *, dry_run: bool) -> Out | None:
    """Understand `--out`, before anything is embedded; None where it is not given.

    Raises:
        Refused: The suffix is unknown, or the file cannot be there.
    """
    name: str | None = click.get_current_context().meta.get(_GIVEN)
    if name is None:
        return None
    if dry_run:
        raise options.Refused("a dry run has no records for --out", fix="leave one of them out")
    return _understood(name, sources)


def _understood(name: str, sources: Sequence[str]) -> Out:
    from vectorflow.service.vector_formats import FILES, NDJSON

    if name == STDOUT:
        if options.as_json():
            fix = "leave one of them out, or give --out a file"
            raise options.Refused("--out - and --json both want stdout", fix=fix)
        return Out(name=name, path=None, form=NDJSON)
    path = Path(os.path.realpath(name))
    forms = {suffix: form for form in FILES for suffix in form.suffixes}
    if path.suffix.lower() not in forms:
        known = ", ".join(forms)
        message = f"--out {output.plain(name)!r} does not end in a suffix that says how to write it"
        raise options.Refused(message, fix=f"let it end in one of {known}, or give - for stdout")
    _refuse_a_place(name, path, sources)
    return Out(name=name, path=path, form=forms[path.suffix.lower()])


def write(out: Out, reader: "pa.RecordBatchReader", on_progress: Callable[[int], None]) -> int:
    """Write records and count them. A file that was there is replaced when all of them are in it.

    Raises:
        OutOfSpace, InvalidInput: The file cannot be written; what was there is as it was.
    """
    import pyarrow as pa

    records = 0
    with _opened(out) as file:
        encoder = out.form.encoder(reader.schema)
        for batch in reader:
            file.write(encoder.write(pa.Table.from_batches([batch])))
            records += len(batch)
            on_progress(records)
        file.write(encoder.end())
    return records


def _refuse_a_place(name: str, path: Path, sources: Sequence[str]) -> None:
    shown = output.plain(name)
    if path.exists() and not path.is_file():
        raise options.Refused(f"--out {shown!r} is no file", fix="name a file")
    if not path.parent.is_dir():
        message = f"the folder of --out {shown!r} does not exist"
        raise options.Refused(message, fix="make it, or name another")
    for source in sources:
        if _is_listed(path, Path(os.path.realpath(source))):
            message = f"--out {shown!r} lies where files are embedded from"
            raise options.Refused(message, fix="write it elsewhere, or it is embedded next time")


def _is_listed(path: Path, source: Path) -> bool:
    """Whether a source holds a file, or is it; hidden ones are never listed."""
    if not path.is_relative_to(source):
        return False
    return not any(part.startswith(".") for part in path.relative_to(source).parts)


@contextmanager
def _opened(out: Out) -> "Generator[BinaryIO]":
    if out.path is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            output.flush()  # a reader that has seen enough is no error
        return
    draft = out.path.with_name(f".{out.path.name}.{secrets.token_hex(4)}~")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(out.path)
        sync_folder(out.path.parent)
    except OSError as error:
        raise _not_written(out, error) from error
    finally:
        draft.unlink(missing_ok=True)


def _not_written(out: Out, error: OSError) -> VectorFlowError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return OutOfSpace(f"no room for {output.plain(out.name)!r}")
    message = f"cannot write {output.plain(out.name)!r}: {error.strerror}"
    return InvalidInput(message, fix="name a file that can be written; what is embedded is kept")
