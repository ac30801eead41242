"""What is handed to `embed` -> a source of documents."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path

from vectorflow.adapters.sources.files import FileSource
from vectorflow.adapters.sources.items import ItemsSource
from vectorflow.errors import InvalidInput
from vectorflow.flow.report import Input
from vectorflow.ports.source import Source


def source_of(source: Input, scope: str | None, data_dir: Path) -> Source:
    """Take paths as files, and everything else as documents handed over.

    Raises:
        InvalidInput: A path does not exist, or a document is no mapping.
    """
    if isinstance(source, bytes):
        return ItemsSource([{"id": "bytes", "text": source}])
    if isinstance(source, Mapping):
        return ItemsSource(_mappings([source]))
    if isinstance(source, str | PathLike):
        return FileSource([fspath(source)], scope=scope, exclude=[data_dir])
    items = list(source) if isinstance(source, Sequence) else source
    if isinstance(items, list) and all(isinstance(item, str | PathLike) for item in items):
        paths = [fspath(item) for item in items if isinstance(item, str | PathLike)]
        return FileSource(paths, scope=scope, exclude=[data_dir])
    return ItemsSource(_mappings(items))


def _mappings(items: Iterable[object]) -> Iterator[Mapping[str, object]]:
    for item in items:
        if not isinstance(item, Mapping):
            message = f"a document came as {type(item).__name__}"
            raise InvalidInput(message, fix='write {"id": "…", "text": "…"}')
        yield item
