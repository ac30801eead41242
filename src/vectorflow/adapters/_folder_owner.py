"""Whose the blobs of a folder are: a file beside them names their ledger.

What a ledger does not refer to is garbage to it. So one that was led to the blobs of another, or to
the empty place where a folder should be mounted, must not take that for its own.
"""

import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vectorflow.adapters._disk import sync_folder

FILE = "ledger-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A ledger, as far as its blobs are concerned."""

    id: str
    needed: Callable[[], Sequence[str]]
    """Gives a few keys of blobs that it refers to."""
    knows: Callable[[Sequence[str]], bool]
    """Whether it names one of these keys, needed or not."""


class Trouble(NamedTuple):
    """Why a folder cannot be the owner's."""

    message: str
    """For everybody: without its path."""
    fix: str
    """For who operates it."""


class OwnedFolder:
    """A folder of blobs, and the ledger that it should belong to."""

    def __init__(
        self,
        root: Path,
        owner: Owner,
        has: Callable[[str], bool],
        some: Callable[[], Sequence[str]],
    ) -> None:
        """Take the folder.

        Args:
            root: Of all blobs.
            owner: The ledger.
            has: Whether the blob of a key is there.
            some: Gives keys of a few blobs that are there.
        """
        self._root, self._file = root, root / FILE
        self._owner, self._has, self._some = owner, has, some

    def trouble(self) -> Trouble | None:
        """Say why it cannot be the owner's. Where only the file is missing, that is put there."""
        named = self._named()
        if named is None:
            doubt = self._doubt()
            named = self._named()  # by us, or by a process that has just put the first blob
            if named is None:
                return doubt
        if named == self._owner.id:
            return None
        return Trouble(
            "the data directory holds the blobs of another ledger",
            "use that ledger, or another data directory (VECTORFLOW_DATA_DIR)" + self._take_over(),
        )

    def claim(self) -> None:
        """Name the owner, durably, where nobody is named."""
        if self._named() is not None:
            return
        draft = self._file.with_name(f"{FILE}~{secrets.token_hex(8)}")
        try:
            with draft.open("x", encoding="utf-8") as file:
                file.write(f"{self._owner.id}\n")
                file.flush()
                os.fsync(file.fileno())
            self._publish(draft)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(self._root)

    def _publish(self, draft: Path) -> None:
        try:
            self._file.hardlink_to(draft)
        except FileExistsError:  # another process was first
            return
        except OSError:  # a file system without hard links
            draft.replace(self._file)

    def _named(self) -> str | None:
        try:
            return self._file.read_text("utf-8", errors="replace").strip() or None
        except FileNotFoundError:
            return None

    def _doubt(self) -> Trouble | None:
        """Judge by the blobs alone; none are needed and none are there where all is new."""
        needed = self._owner.needed()
        if any(self._has(key) for key in needed):
            self._adopt()
            return None
        if needed:
            return Trouble(
                "the data directory holds none of the blobs that the ledger needs",
                f"see that {self._root} is mounted; if they are lost, write {self._owner.id} "
                f"into {self._file}",
            )
        left = self._some()
        if left and not self._owner.knows(left):
            return Trouble(
                "the data directory holds blobs that the ledger does not know",
                "use their ledger, or another data directory (VECTORFLOW_DATA_DIR)"
                + self._take_over(),
            )
        if left:
            self._adopt()
        return None

    def _adopt(self) -> None:
        with suppress(OSError):  # the folder may be there to be read only
            self.claim()

    def _take_over(self) -> str:
        return (
            f"; for this ledger to take over {self._root}, and delete what it does not refer to, "
            f"write {self._owner.id} into {self._file}"
        )
