"""A view of the file system that holds little more than libraries.

Source: Documentation/userspace-api/landlock.rst and include/uapi/linux/landlock.h of Linux.
"""

import os
import stat
import struct
from collections.abc import Iterable

from vectorflow.sandbox.kernel import pointer, system_call

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
"""System calls, alike on all processors."""
_ASK_VERSION = 1
_PATH_BENEATH = 1

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""Everything that a version can forbid; those between are like the one before."""
_NETWORK_RIGHTS, _NETWORK_SINCE = 0b11, 4
_SCOPES, _SCOPES_SINCE = 0b11, 6
"""Abstract Unix sockets of others, signals to others."""


def see_only(trees: Iterable[str], folders: Iterable[str]) -> None:
    """Let this process open nothing but what lies here, and nothing for writing.

    Args:
        trees: Files and folders that may be read, with all below them.
        folders: Folders that may be listed, with all below them.

    Raises:
        OSError: The kernel does not know how.
    """
    version = system_call(_CREATE, 0, 0, _ASK_VERSION)
    rules = system_call(_CREATE, pointer(_forbidden(version)), len(_forbidden(version)), 0)
    try:
        for path in trees:
            _allow(rules, path, _READ_FILE | _READ_DIR)
        for path in folders:
            _allow(rules, path, _READ_DIR)
        system_call(_RESTRICT, rules, 0)
    finally:
        os.close(rules)


def _forbidden(version: int) -> bytes:
    """Describe all that this version of the kernel can forbid."""
    files = _FILE_RIGHTS[max(known for known in _FILE_RIGHTS if known <= version)]
    parts = [files]
    if version >= _NETWORK_SINCE:
        parts.append(_NETWORK_RIGHTS)
    if version >= _SCOPES_SINCE:
        parts.append(_SCOPES)
    return struct.pack(f"={len(parts)}Q", *parts)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no leave
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= ~_READ_DIR
        if rights:
            rule = struct.pack("=Qi", rights, place)
            system_call(_ADD_RULE, rules, _PATH_BENEATH, pointer(rule), 0)
    finally:
        os.close(place)
