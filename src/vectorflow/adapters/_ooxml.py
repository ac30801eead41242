"""Packages of Office Open XML: parts, how they relate, and what a document says of itself."""

import posixpath
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, NamedTuple, cast
from urllib.parse import unquote
from zipfile import ZipFile

from vectorflow.adapters._archives import opened, read
from vectorflow.adapters._compounds import compound, is_compound, read_head
from vectorflow.adapters._properties import named, properties
from vectorflow.adapters._xml_tree import Element, parse, stream
from vectorflow.errors import BrokenFile, EncryptedFile

R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
FALLBACK = MC + "Fallback"
"""What readers show that do not know the choice before it: the same once more."""

MAX_PART = 64 << 20
"""Bytes of a part that is read whole."""


class Relation(NamedTuple):
    """From a part to another, or to an address outside."""

    kind: str
    """The last word of its type: `slide`, `hyperlink`."""
    target: str
    """Name of the part, or the address."""
    external: bool


@dataclass(frozen=True)
class Package:
    """An archive of parts."""

    archive: ZipFile

    @cached_property
    def main(self) -> str:
        """Name of the part with the document itself."""
        for relation in self.relations("").values():
            if relation.kind == "officeDocument" and not relation.external:
                return relation.target
        raise BrokenFile("it is a ZIP archive, but no Office document")

    @cached_property
    def properties(self) -> Mapping[str, str]:
        """What the document says of itself."""
        core = self.related("", "core-properties")
        return properties(named(self.part(core[0]))) if core else {}

    def part(self, name: str) -> Element:
        """Parse a part.

        Raises:
            BrokenFile: There is none of that name, or it is damaged.
        """
        return parse(read(self.archive, name, MAX_PART))

    def stream(self, name: str, tags: Sequence[str]) -> Iterator[Element]:
        """Give elements of a part as it is unpacked.

        Raises:
            BrokenFile: There is none of that name, or it is damaged.
        """
        if name not in self.archive.NameToInfo:
            raise BrokenFile("its ZIP archive lacks a part")
        with self.archive.open(name) as part:
            yield from stream(cast("BinaryIO", part), tags)

    def relations(self, part: str) -> Mapping[str, Relation]:
        """Give what a part relates to, by id; `""` is the package itself."""
        folder, name = posixpath.split(part)
        listed = posixpath.join(folder, "_rels", f"{name}.rels")
        if listed not in self.archive.NameToInfo:
            return {}
        return {one.get("Id") or "": _relation(one, folder) for one in self.part(listed)}

    def related(self, part: str, kind: str) -> list[str]:
        """Name the parts there are that a part relates to in this way, in order."""
        return [
            relation.target
            for relation in self.relations(part).values()
            if relation.kind == kind and relation.target in self.archive.NameToInfo
        ]


@contextmanager
def package(source: BinaryIO) -> Generator[Package | None]:
    """Open a package; None is for a source without a byte.

    Raises:
        EncryptedFile: It needs a password: then it is no ZIP archive, but packed into an OLE file.
        DocumentFailed: As `opened` does.
    """
    if not (head := read_head(source)):
        yield None
        return
    if is_compound(head):
        with compound(source) as file:
            if file.exists("EncryptedPackage"):
                raise EncryptedFile("it is encrypted")
        raise BrokenFile("it is an Office file of another kind than its name says")
    with opened(source) as archive:
        yield Package(archive)


def _relation(element: Element, folder: str) -> Relation:
    kind = (element.get("Type") or "").rpartition("/")[2]
    target = element.get("Target") or ""
    if element.get("TargetMode") == "External":
        return Relation(kind, target, external=True)
    # A target may be a URI, and may begin at the root of the package.
    name = posixpath.normpath(posixpath.join("/", folder, unquote(target)))
    return Relation(kind, name.lstrip("/"), external=False)
