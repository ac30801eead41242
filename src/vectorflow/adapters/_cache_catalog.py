"""Which segment of the cache holds which vector: a SQLite file that processes share.

Entries are keyed by half of the input hash; the row itself has all of it. An entry is committed
after its row was written, under one write lock: a process that dies leaves a row that no entry
names, and the next one writes there.
"""

import sqlite3
import time
import uuid
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from vectorflow.ports.vector_cache import CacheView

SEGMENTS = 32
"""A segment takes this part of the room and of the time that there is: it goes as a whole."""

ENTRY_BYTES = 32
"""Of an entry beside its row."""

BUSY_SECONDS = 2.0
"""To wait for other processes; then it is quicker to do without."""

TELL_SECONDS = 60.0
"""Between two notes of what was used: looking up does not write."""

SCHEMA_VERSION = 2

_SCHEMA = (
    """CREATE TABLE segments (
        id INTEGER PRIMARY KEY AUTOINCREMENT, scope INTEGER NOT NULL, name TEXT NOT NULL,
        rows INTEGER NOT NULL, bytes INTEGER NOT NULL, made_at REAL NOT NULL, used_at REAL NOT NULL,
        tenant TEXT NOT NULL
    )""",
    """CREATE TABLE entries (
        scope INTEGER NOT NULL, head INTEGER NOT NULL,
        segment INTEGER NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (scope, head)
    ) WITHOUT ROWID""",
    "CREATE TABLE tally (hits INTEGER NOT NULL, misses INTEGER NOT NULL)",
    "INSERT INTO tally VALUES (0, 0)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

_FIND = """
    SELECT entries.head, entries.segment, entries.row FROM json_each(?) AS asked
    CROSS JOIN entries ON entries.scope = ? AND entries.head = asked.value
    ORDER BY entries.segment, entries.row
"""


class Place(NamedTuple):
    """Where rows may be written."""

    name: str
    """Of the segment's file."""
    first: int
    """Number of the first row."""


class Owner(NamedTuple):
    """Whose rows they are."""

    scope: int
    """Number of the scope."""
    tenant: str


class Catalog:
    """Knows what lies where, and what has to go. Raises what SQLite raises."""

    def __init__(self, folder: Path, *, max_bytes: int, max_age: float) -> None:
        self._folder, self._max_bytes, self._max_age = folder, max_bytes, max_age
        self._used: set[int] = set()
        self._hits = self._misses = 0
        self._told_at = time.monotonic()
        self._connection = sqlite3.connect(
            folder / "catalog.db",
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Note what was used, as far as that can be written, and let go of the file."""
        with suppress(sqlite3.Error):
            self._tell()
        self._connection.close()

    def find(self, scope: int, heads: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give head, segment and row of each that is known, in the order of segments and rows."""
        asked = orjson.dumps(heads, option=orjson.OPT_SERIALIZE_NUMPY).decode()
        found = self._connection.execute(_FIND, (asked, scope)).fetchall()
        return np.array(found, dtype=np.int64).reshape(-1, 3)

    def names(self, scope: int) -> dict[int, str]:
        """Give the names of a scope's segments by number; not of those that are too old."""
        oldest = time.time() - self._max_age
        asked = "SELECT id, name FROM segments WHERE scope = ? AND made_at > ?"
        return dict(self._connection.execute(asked, (scope, oldest)))

    def add(
        self, owner: Owner, heads: NDArray[np.int64], size: int, write: Callable[[Place], None]
    ) -> None:
        """Have rows written where there is room, and enter them.

        Args:
            owner: Of the rows.
            heads: Of the rows, in their order.
            size: Bytes of one row.
            write: Writes all of them.
        """
        count, total = len(heads), len(heads) * (size + ENTRY_BYTES)
        scope = owner.scope
        with self._writing() as connection:
            self._write_down(connection)
            gone = self._expire(connection) + self._evict(connection, total)
            segment, place = self._open_segment(connection, owner)
            write(place)
            numbers = range(place.first, place.first + count)
            connection.executemany(
                "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)",
                zip(repeat(scope), heads.tolist(), repeat(segment), numbers),
            )
            connection.execute(
                "UPDATE segments SET rows = rows + ?, bytes = bytes + ?, used_at = ? WHERE id = ?",
                (count, total, time.time(), segment),
            )
        self._unlink(gone)

    def note(self, segments: Iterable[int], *, hits: int, misses: int) -> None:
        """Remember what was used; it is written down now and then, as far as that can be done."""
        self._used.update(segments)
        self._hits += hits
        self._misses += misses
        if time.monotonic() - self._told_at >= TELL_SECONDS:
            self._tell()

    def sweep(self) -> None:
        """Delete what is too old or too much, and files that a process left when it died."""
        with self._writing() as connection:
            gone = self._expire(connection) + self._evict(connection, 0)
        self._unlink(gone)
        with self._writing() as connection:  # while nobody is about to name a new file
            known = {name for (name,) in connection.execute("SELECT name FROM segments")}
            self._unlink({path.name for path in self._folder.glob("*.rows")} - known)

    def clear(self) -> None:
        """Delete everything, the tally too."""
        with self._writing() as connection:
            gone = self._drop(connection, "TRUE")
            connection.execute("DELETE FROM entries")
            connection.execute("UPDATE tally SET hits = 0, misses = 0")
        self._unlink(gone)

    def clear_tenant(self, tenant: str) -> int:
        """Delete all of a tenant, in every ledger and of every model; gives how many vectors."""
        with self._writing() as connection:
            before = self._count(connection)
            gone = self._drop(connection, "tenant = ?", tenant)
            count = before - self._count(connection)
        self._unlink(gone)
        return count

    def view(self) -> CacheView:
        """Read what there is."""
        self._tell()
        held = "SELECT count(*), coalesce(sum(bytes), 0) FROM segments"
        segments, size = self._connection.execute(held).fetchone()
        vectors = self._count(self._connection)
        hits, misses = self._connection.execute("SELECT hits, misses FROM tally").fetchone()
        return CacheView(vectors=vectors, bytes=size, segments=segments, hits=hits, misses=misses)

    def _prepare(self) -> None:
        """Make the tables where there are none.

        Raises:
            sqlite3.DatabaseError: It is no catalog of this release.
        """
        self._connection.execute("PRAGMA journal_mode = wal")
        self._connection.execute("PRAGMA synchronous = normal")
        self._connection.execute("PRAGMA cache_size = -8192")  # KiB
        with self._writing() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA:
                    connection.execute(statement)
            elif version != SCHEMA_VERSION:
                message = f"the cache has version {version}"
                raise sqlite3.DatabaseError(message)

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _count(self, connection: sqlite3.Connection) -> int:
        (count,) = connection.execute("SELECT count(*) FROM entries").fetchone()
        return int(count)

    def _open_segment(self, connection: sqlite3.Connection, owner: Owner) -> tuple[int, Place]:
        """Find the segment that still takes rows of an owner, or begin one."""
        now = time.time()
        row = connection.execute(
            "SELECT id, name, rows FROM segments WHERE scope = ? AND bytes < ? AND made_at > ?"
            " ORDER BY id DESC LIMIT 1",
            (owner.scope, self._max_bytes // SEGMENTS, now - self._max_age / SEGMENTS),
        ).fetchone()
        if row:
            return row[0], Place(row[1], row[2])
        name = f"{uuid.uuid4().hex}.rows"
        made = connection.execute(
            "INSERT INTO segments (scope, tenant, name, rows, bytes, made_at, used_at)"
            " VALUES (?, ?, ?, 0, 0, ?, ?)",
            (*owner, name, now, now),
        )
        return made.lastrowid or 0, Place(name, 0)

    def _expire(self, connection: sqlite3.Connection) -> list[str]:
        return self._drop(connection, "made_at <= ?", time.time() - self._max_age)

    def _evict(self, connection: sqlite3.Connection, size: int) -> list[str]:
        """Drop the segments that were not used for longest, until so many bytes fit in."""
        rows = connection.execute("SELECT id, bytes FROM segments ORDER BY used_at, id").fetchall()
        excess = sum(held for _, held in rows) + size - self._max_bytes
        gone: list[str] = []
        for segment, held in rows:
            if excess <= 0:
                break
            gone += self._drop(connection, "id = ?", segment)
            excess -= held
        return gone

    def _drop(self, connection: sqlite3.Connection, which: str, *values: float | str) -> list[str]:
        """Forget segments and what is in them; their files may go after the commit."""
        asked = f"SELECT id, scope, name FROM segments WHERE {which}"  # noqa: S608 - our own words
        rows = connection.execute(asked, values).fetchall()
        for segment, scope, _ in rows:
            connection.execute(
                "DELETE FROM entries WHERE scope = ? AND segment = ?", (scope, segment)
            )
            connection.execute("DELETE FROM segments WHERE id = ?", (segment,))
        return [name for *_, name in rows]

    def _unlink(self, names: Iterable[str]) -> None:
        for name in names:
            (self._folder / name).unlink(missing_ok=True)

    def _tell(self) -> None:
        """Let other processes know what was used, if anything was; what cannot be told is later."""
        self._told_at = time.monotonic()
        if not (self._used or self._hits or self._misses):
            return
        with suppress(sqlite3.OperationalError), self._writing() as connection:  # locked, or full
            self._write_down(connection)

    def _write_down(self, connection: sqlite3.Connection) -> None:
        now = time.time()
        used = [(now, segment) for segment in self._used]
        connection.executemany("UPDATE segments SET used_at = ? WHERE id = ?", used)
        counts = self._hits, self._misses
        connection.execute("UPDATE tally SET hits = hits + ?, misses = misses + ?", counts)
        self._used, self._hits, self._misses = set(), 0, 0
