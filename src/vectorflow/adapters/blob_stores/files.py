"""Blobs as files of a directory, which several processes of one machine may share."""

import asyncio
import errno
import io
import os
import re
import secrets
import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ParamSpec, TypeVar

from vectorflow.adapters._disk import sync_folder
from vectorflow.adapters._folder_owner import FILE, OwnedFolder, Owner, Trouble
from vectorflow.errors import InvalidSetting, NotFound, OutOfSpace, Unavailable
from vectorflow.ports.blob_store import BlobInfo, BlobStore

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer  # exists for type checkers only

_KEY = re.compile(r"[a-z_]+/[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_DRAFT = "~"
"""Stands in the name of a file that is being written, and in no key."""
_PIECE = 1 << 20
"""Bytes written by one visit to a thread, at least."""
_DRAFT_DIES = 24 * 3600.0
"""Seconds without a write after which the writer of a draft must have crashed."""
_SOME = 64
"""Blobs of a kind, of which one should be known to their owner."""

P = ParamSpec("P")
T = TypeVar("T")


class FileBlobStore(BlobStore):
    """`KIND/NAME` lies in `ROOT/KIND/HH/NAME`, HH a hash of the name that keeps folders small.

    Folders are made when the first blob needs them. Where there is an owner, another's folder is
    not written, listed or said to have room. Who reads pays for that only where a blob is missing.
    """

    def __init__(self, root: Path, owner: Owner | None = None) -> None:
        self._root = root
        some = partial(_some_keys, root)
        self._owned = OwnedFolder(root, owner, self._has, some) if owner else None

    def check(self) -> None:
        """Refuse a folder that cannot be the owner's.

        Raises:
            InvalidSetting: Names the folder, and says what to do.
        """
        if trouble := self._trouble():
            raise InvalidSetting(trouble.message, fix=trouble.fix)

    def claim(self) -> None:
        """Name the owner beside the blobs, where nobody is named.

        Raises:
            Unavailable: They cannot be the owner's.
        """
        self._demand()
        if self._owned:
            with _disk_errors(FILE):
                _make_folder(self._root)
                self._owned.claim()
            self._demand()  # another ledger may have been first

    async def put(self, key: str, parts: Iterable[bytes] | AsyncIterable[bytes]) -> int:
        draft = _Draft(self._path(key), self._make_folder)
        try:
            if isinstance(parts, AsyncIterable):
                last = b""  # is written in the same visit that makes the blob visible
                async for piece in _coalesced(parts):
                    if last:
                        await _to_the_end(draft.write, last)
                    last = piece
                await _to_the_end(draft.finish, last)
            else:
                pieces = iter(parts)
                while not await _to_the_end(draft.finish_soon, pieces):
                    pass
        finally:
            if not draft.published:
                await _to_the_end(draft.discard)
        return draft.size

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        def read() -> bytes:
            with self.open(key, start, length) as stretch, _disk_errors(key):
                return stretch.read()

        return await asyncio.to_thread(read)

    def open(self, key: str, start: int = 0, length: int | None = None) -> BinaryIO:
        path = self._path(key)
        with _disk_errors(key):
            try:
                file = path.open("rb", buffering=0)
            except FileNotFoundError as error:
                self._demand()
                raise NotFound(f"no blob {key!r}") from error
            return io.BufferedReader(_Stretch(file, start, length))

    async def delete(self, keys: Sequence[str]) -> None:
        def delete() -> None:
            for key in keys:
                with _disk_errors(key):
                    self._path(key).unlink(missing_ok=True)

        await asyncio.to_thread(delete)

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        await asyncio.to_thread(self._demand)
        kind, slash, _ = prefix.partition("/")
        for folder in await asyncio.to_thread(_folders, self._root):
            name = folder.parent.name
            if name == kind if slash else name.startswith(kind):
                for blob in await asyncio.to_thread(_blobs, folder):
                    if blob.key.startswith(prefix):
                        yield blob

    def free_bytes(self) -> int | None:
        self._demand()
        at = self._root.absolute()
        while not at.exists():
            at = at.parent
        room = os.statvfs(at)
        return room.f_bavail * room.f_frsize

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key of a blob")
        kind, _, name = key.partition("/")
        spread = blake2b(name.encode(), digest_size=1).hexdigest()
        return self._root / kind / spread / name

    def _has(self, key: str) -> bool:
        return self._path(key).exists()

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self.claim()
            _make_folder(folder)

    def _trouble(self) -> Trouble | None:
        with _disk_errors(FILE):
            return self._owned.trouble() if self._owned else None

    def _demand(self) -> None:
        """Raise where the folder cannot be the owner's now; it may be mounted again."""
        if trouble := self._trouble():
            fix = "see that it is mounted and the right one; `vectorflow doctor` says more"
            raise Unavailable(trouble.message, fix=fix)


class _Draft:
    """A blob that is being written, under a name of its own. Works in threads, one at a time."""

    def __init__(self, path: Path, make_folder: Callable[[Path], None]) -> None:
        self._path = path
        self._make_folder = make_folder
        self._draft = path.with_name(f"{path.name}{_DRAFT}{secrets.token_hex(8)}")
        self._file: BinaryIO | None = None
        self.size = 0
        self.published = False

    def write(self, piece: bytes) -> None:
        with _disk_errors(self._path.name):
            self.size += self._opened().write(piece)

    def finish_soon(self, parts: Iterator[bytes]) -> bool:
        """Write the next parts; True once there were no more and the blob is there."""
        enough = self.size + _PIECE
        for part in parts:
            self.write(part)
            if self.size >= enough:
                return False
        self.finish(b"")
        return True

    def finish(self, piece: bytes) -> None:
        """Write a last piece, and let the blob be seen."""
        self.write(piece)
        with _disk_errors(self._path.name):
            file = self._opened()
            file.flush()
            os.fsync(file.fileno())
            file.close()
            self._draft.replace(self._path)
            self.published = True
            sync_folder(self._path.parent)

    def discard(self) -> None:
        if self._file is None:
            return
        with suppress(OSError):  # what could not be written cannot be flushed either
            self._file.close()
        with suppress(OSError):  # the listing finds what stays behind
            self._draft.unlink(missing_ok=True)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._make_folder(self._path.parent)
            self._file = self._draft.open("xb")
        return self._file


class _Stretch(io.RawIOBase):
    """A part of a file that looks like a whole one."""

    def __init__(self, file: io.FileIO, start: int, length: int | None) -> None:
        self._file = file
        size = os.fstat(file.fileno()).st_size
        self._start = min(start, size)
        self._length = size - self._start
        if length is not None:
            self._length = min(length, self._length)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._start or self._length < os.fstat(self._file.fileno()).st_size:
            raise io.UnsupportedOperation("a part of a file has no descriptor of its own")
        return self._file.fileno()

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        if origin + offset < 0:
            raise ValueError(f"cannot seek to {origin + offset}")
        self._at = origin + offset
        return self._at

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        room = memoryview(buffer)[: max(0, self._length - self._at)]
        self._file.seek(self._start + self._at)
        count = self._file.readinto(room) or 0
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


async def _to_the_end(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run in a thread, and leave only when it is done: nobody may close a file under a write."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # said to be seen; the cancellation is what is raised
        raise


async def _coalesced(parts: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Join small parts, as each piece costs a visit to a thread."""
    waiting: list[bytes] = []
    size = 0
    async for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= _PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)


@contextmanager
def _disk_errors(key: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise OutOfSpace(f"no room for blob {key!r}") from error
        raise Unavailable(f"the blob store cannot use {key!r}: {error.strerror}") from error


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
        sync_folder(folder.parent)


def _folders(root: Path) -> list[Path]:
    return sorted(folder for folder in root.glob("*/*") if folder.is_dir())


def _some_keys(root: Path) -> list[str]:
    """A few keys of each kind."""
    kinds = [folder.name for folder in root.glob("*") if folder.is_dir()]
    paths = (path for kind in kinds for path in islice(root.glob(f"{kind}/*/*"), _SOME))
    keys = [f"{path.parent.parent.name}/{path.name}" for path in paths]
    return [key for key in keys if _KEY.fullmatch(key)]


def _blobs(folder: Path) -> list[BlobInfo]:
    """List the blobs of a folder, and clear away the drafts of writers that crashed."""
    found: list[BlobInfo] = []
    with _disk_errors(folder.name):
        for path in folder.iterdir():
            with suppress(FileNotFoundError):  # deleted meanwhile
                status = path.stat()
                age = max(0.0, time.time() - status.st_mtime)
                key = f"{folder.parent.name}/{path.name}"
                if _KEY.fullmatch(key):  # anything else is none of ours
                    found.append(BlobInfo(key=key, size=status.st_size, age=age))
                elif _DRAFT in path.name and age > _DRAFT_DIES:
                    path.unlink()
    return found
