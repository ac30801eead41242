"""What of the file system a child needs to import its libraries, and nothing beside."""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/nix/store",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/null",
    "/dev/urandom",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
)
"""Shared libraries, and what they ask the machine about."""

_PACKAGES = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a child may read."""

    search: tuple[str, ...]
    """Where it looks for modules; these folders it may list."""
    trees: tuple[str, ...]
    """Folders and files that it may read."""


def places_of(packages: Iterable[str]) -> Places:
    """Find what a child needs to import some modules as this process does.

    The folder of a script or a project is searched, but of its files no other is read: it may hold
    secrets.

    Args:
        packages: Top-level names of modules that do not lie where packages are installed.
    """
    search = tuple(dict.fromkeys(str(Path(entry).absolute()) for entry in sys.path))
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    libraries = [str(Path(prefix, lib)) for prefix in sorted(prefixes) for lib in ("lib", "lib64")]
    installed = [entry for entry in search if Path(entry).name in _PACKAGES]
    own = [place for name in packages for place in _files_of(name)]
    linked = filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))
    trees = (*_SYSTEM, *libraries, *installed, *own, *linked)
    return Places(search=search, trees=tuple(dict.fromkeys(trees)))


def _files_of(package: str) -> list[str]:
    """Give the folders of a package, or the file of a module."""
    module = sys.modules[package]
    folders: list[str] = list(getattr(module, "__path__", []))
    file = getattr(module, "__file__", None)
    return folders or ([file] if file else [])
