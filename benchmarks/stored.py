"""What lies in the vector store of a data directory, read with the store's own client."""

from collections import Counter
from pathlib import Path

import lancedb
import pyarrow as pa


def records(data: Path) -> pa.Table:
    """Read all records of the index `default`."""
    return lancedb.connect(data / "vectors").open_table("default").to_arrow()


def contents(data: Path) -> Counter[tuple[str, str]]:
    """Count the records by document and text: what a search can find, whatever its history."""
    table = records(data)
    return Counter(zip(table["document"].to_pylist(), table["text"].to_pylist(), strict=True))


def state(data: Path) -> dict[Path, tuple[int, int]]:
    """Give size and time of change of all the store's files; equal states: nothing was written."""
    files = [path for path in (data / "vectors").rglob("*") if path.is_file()]
    stats = [(path, path.stat()) for path in files]
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats}
