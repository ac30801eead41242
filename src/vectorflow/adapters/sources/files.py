"""Files, directories and globs of this machine."""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote_from_bytes, unquote_to_bytes

from vectorflow.domain.documents import Listed
from vectorflow.errors import InvalidInput, UnreadableSource
from vectorflow.ports.source import Source

_SCHEME = "file://"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A file, or a directory that cannot be listed."""

    path: Path
    """Absolute; only the last part may be a link."""
    name: str
    """Path below the directory that was named, of a file its name; a slash ends a directory."""
    given: str
    """The path as the user would write it."""
    error: OSError | None = None


class FileSource(Source):
    """Lists what paths name: files, all files below directories, all files that a glob matches.

    Below directories, and for globs too, these are passed over: what is hidden, directories behind
    links, and files behind links that lead out. A glob matches files only; `**` is any depth.

    An external id is the path below the directory, of a file its name; where two would be the same
    it is the path as given. In it a backslash is doubled and a byte that is not UTF-8 is written as
    a backslash, `x` and two digits, so that different names always have different ids.
    """

    def __init__(
        self,
        paths: Sequence[Path | str],
        *,
        scope: str | None = None,
        exclude: Sequence[Path] = (),
    ) -> None:
        """Check that the paths exist.

        Args:
            paths: What to list; a single directory is a tree that is listed completely.
            scope: Name of that tree, instead of the directory's own; not for anything else.
            exclude: Directories to pass over, such as the data directory.

        Raises:
            InvalidInput: A path does not exist, or there is a scope without a tree.
        """
        self._paths = tuple(os.fspath(path) for path in paths)
        self._exclude = frozenset(map(_real, exclude))
        if not all(self._paths) or not self._paths:
            raise InvalidInput("no path is given", fix="name a file, a directory or a glob")
        for path in self._paths:
            _demand(path)
        is_tree = len(self._paths) == 1 and _is_directory(self._paths[0])
        if scope and not is_tree:
            raise InvalidInput(
                f"scope {scope!r} needs one directory, which is then listed completely",
                fix="name one directory, or leave the scope out",
            )
        self.scope = scope or (_escaped(_real(self._paths[0]).name or "/") if is_tree else None)

    def list(self) -> Iterator[Listed]:
        if self.scope is not None:
            for found in self._walk(self._paths[0]):
                yield _listed(found, found.name)
            return
        everything = {found.path: found for path in self._paths for found in self._below(path)}
        names = Counter(found.name for found in everything.values())
        as_given = {found.given for found in everything.values()}
        for found in everything.values():
            is_taken = found.name in as_given and found.name != found.given
            unique = names[found.name] == 1 and not is_taken
            yield _listed(found, found.name if unique else found.given)

    def open(self, listed: Listed) -> BinaryIO:
        if listed.failure:
            raise listed.failure
        path = unquote_to_bytes(listed.uri.removeprefix(_SCHEME))
        try:
            # A file that has become a pipe since it was listed must not make us wait.
            file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
        except OSError as error:
            raise _unreadable(listed.external_id, error) from error
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise _special(listed.external_id)
        return file

    def _below(self, path: str) -> Iterator[_Found]:
        if _is_directory(path):
            return self._walk(path)
        if has_magic(path) and not os.path.lexists(path):
            return self._matches(path)
        name = Path(path).name
        real = _real(Path(path).parent) / name
        return iter([_Found(path=real, name=name, given=os.path.normpath(path))])

    def _matches(self, pattern: str) -> Iterator[_Found]:
        root, wanted = _parted(pattern)
        matched = False
        for found in self._walk(root, None if "**" in wanted else len(wanted)):
            if found.error or _match(found.name.split("/"), wanted):
                matched = True
                yield found
        if not matched:
            raise InvalidInput(
                f"no file matches {pattern!r}",
                fix="name other files; hidden ones are passed over",
            )

    def _walk(self, root: str, depth: int | None = None) -> Iterator[_Found]:
        """Give the files of a tree in the order of their names, down to `depth` names."""
        real, given = _real(root), Path(os.path.normpath(root))
        waiting = [""]
        while waiting:
            name = waiting.pop()
            if name and not name.endswith("/"):
                yield _Found(path=real / name, name=name, given=str(given / name))
            elif depth is None or name.count("/") < depth:
                try:
                    waiting += reversed(self._entries(real, name))
                except OSError as error:
                    shown = f"{given / name}/"
                    yield _Found(path=real / name, name=name or "./", given=shown, error=error)

    def _entries(self, real: Path, folder: str) -> Sequence[str]:
        """Name what a directory holds, relative to the root; a slash ends a directory."""
        names: list[str] = []
        with os.scandir(real / folder) as entries:
            for entry in entries:
                name = folder + entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if real / name not in self._exclude:
                        names.append(f"{name}/")
                elif not entry.is_symlink() or self._leads_to_a_file_inside(entry.path, real):
                    names.append(name)
        return sorted(names)

    def _leads_to_a_file_inside(self, link: str, real: Path) -> bool:
        target = _real(link)
        inside = target.is_relative_to(real) and not _is_directory(target)
        return inside and not any(target.is_relative_to(folder) for folder in self._exclude)


def _demand(path: str) -> None:
    fixed = _parted(path)[0] if has_magic(path) and not os.path.lexists(path) else path
    try:
        Path(fixed).stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise InvalidInput(
            f"{path!r} does not exist", fix="check the path and the current directory"
        ) from error
    except OSError:
        return  # it may be there; the listing says why it cannot be read


def _parted(pattern: str) -> tuple[str, Sequence[str]]:
    """Part a glob into the directory it starts from and the names it wants below."""
    parts = [part for part in pattern.split("/") if part not in {"", "."}]
    first = next(number for number, part in enumerate(parts) if has_magic(part))
    start = "/" if pattern.startswith("/") else ""
    return start + "/".join(parts[:first]) or ".", parts[first:]


def _match(names: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted:
        return not names
    if wanted[0] == "**":
        return _match(names, wanted[1:]) or (bool(names) and _match(names[1:], wanted))
    return bool(names) and fnmatchcase(names[0], wanted[0]) and _match(names[1:], wanted[1:])


def _listed(found: _Found, name: str) -> Listed:
    size, failure = 0, None
    external_id = _escaped(name)
    try:
        if found.error:
            raise found.error
        status = found.path.stat()
        if stat.S_ISREG(status.st_mode):
            size = status.st_size
            _demand_readable(found.path)
        else:
            failure = _special(external_id)
    except OSError as error:
        failure = _unreadable(external_id, error)
    uri = _SCHEME + quote_from_bytes(os.fsencode(found.path))
    return Listed(external_id=external_id, uri=uri, size=size, failure=failure)


def _demand_readable(path: Path) -> None:
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(0, "Permission denied")


def _escaped(name: str) -> str:
    return os.fsencode(name).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def _real(path: str | Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve would raise on links in a circle


def _is_directory(path: str | Path) -> bool:
    try:
        return stat.S_ISDIR(Path(path).stat().st_mode)
    except OSError:
        return False


def _unreadable(name: str, error: OSError) -> UnreadableSource:
    return UnreadableSource(
        f"cannot read {name!r}: {error.strerror}",
        fix="make it readable or move it away, then run the same command again",
    )


def _special(name: str) -> UnreadableSource:
    return UnreadableSource(
        f"cannot read {name!r}: it is not a regular file",
        fix="move it away, then run the same command again",
    )
