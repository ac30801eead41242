"""Files with files inside of them, and a stranger's plugin that reads them.

A bundle is JSON: `{"text": …, "attached": {NAME: text or another bundle}}`.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PLUGIN = """
import json
from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import BrokenFile


class BundleExtractor:
    revision = 1
    suffixes = (".bundle",)
    library = ""
    sandboxed = False

    def extract(self, source):
        try:
            read = json.load(source)
        except ValueError:
            raise BrokenFile("the bundle is no JSON") from None
        attached = [Attached(name=name, data=data.encode()) for name, data in read["attached"]]
        yield from attached[::2]
        start = 0
        for line in read["text"].splitlines(keepends=True):
            yield Section(text=line, start=start)
            start += len(line)
        yield from attached[1::2]
"""

ENTRY_POINT = "[vectorflow.extractors]\nbundle = bundle_extractor:BundleExtractor\n"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A file with others inside."""

    text: str
    attached: Mapping[str, "str | Bundle"] = field(default_factory=dict)

    @property
    def written(self) -> str:
        inside = [
            (name, one.written if isinstance(one, Bundle) else one)
            for name, one in self.attached.items()
        ]
        return json.dumps({"text": self.text, "attached": inside})

    def texts(self, name: str) -> Iterator[tuple[str, str]]:
        """Give the documents that are to come of it: text by external id."""
        if self.text:
            yield name, self.text
        for inner, one in self.attached.items():
            path = f"{name}//{inner}"
            yield from one.texts(path) if isinstance(one, Bundle) else [(path, one)]


def install_plugin(folder: Path) -> str:
    """Install the plugin into a folder; gives the `PYTHONPATH` with which it is found."""
    info = folder / "bundle_extractor-1.dist-info"
    info.mkdir(parents=True)
    (folder / "bundle_extractor.py").write_text(PLUGIN, "utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bundle-extractor\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINT)
    known = os.environ.get("PYTHONPATH")
    return f"{folder}{os.pathsep}{known}" if known else str(folder)
