"""`--out`: the records of an embed as a file, whole or not there at all."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from vectorflow.cli import files, options, output

if TYPE_CHECKING:
    import pyarrow as pa

    from vectorflow.service.vector_formats import Format

F = TypeVar("F", bound=Callable[..., object])

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

    if name == files.STDOUT:
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
    _refuse_a_source(name, files.path_for("--out", name), sources)
    return Out(name=name, path=path, form=forms[path.suffix.lower()])


def write(out: Out, reader: "pa.RecordBatchReader", on_progress: Callable[[int], None]) -> int:
    """Write records and count them. A file that was there is replaced when all of them are in it.

    Raises:
        OutOfSpace, InvalidInput: The file cannot be written; what was there is as it was.
    """
    import pyarrow as pa

    records = 0
    with files.written(out.name, out.path) as file:
        encoder = out.form.encoder(reader.schema)
        for batch in reader:
            file.write(encoder.write(pa.Table.from_batches([batch])))
            records += len(batch)
            on_progress(records)
        file.write(encoder.end())
    return records


def _refuse_a_source(name: str, path: Path, sources: Sequence[str]) -> None:
    shown = output.plain(name)
    for source in sources:
        if _is_listed(path, Path(os.path.realpath(source))):
            message = f"--out {shown!r} lies where files are embedded from"
            raise options.Refused(message, fix="write it elsewhere, or it is embedded next time")


def _is_listed(path: Path, source: Path) -> bool:
    """Whether a source holds a file, or is it; hidden ones are never listed."""
    if not path.is_relative_to(source):
        return False
    return not any(part.startswith(".") for part in path.relative_to(source).parts)
