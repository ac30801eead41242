"""Styles of an OpenDocument text: titles, code, and how lists and headings are numbered."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vectorflow.adapters._list_labels import Labels, Level
from vectorflow.adapters._xml_tree import Element

TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
_FO = "{urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0}"

AUTOMATIC = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}automatic-styles"
"""Styles that writing programs make of what is set by hand."""

_LEVELS = (
    TEXT + "list-level-style-bullet",
    TEXT + "list-level-style-image",
    TEXT + "list-level-style-number",
    TEXT + "outline-level-style",
)
_FORMS = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
_DEEPEST_PARENT = 20


@dataclass(slots=True)
class Styles:
    """What the styles say that matters for text."""

    outline: Labels = field(default_factory=lambda: Labels({}))
    """Of the headings."""
    lists: dict[str, Mapping[int, Level]] = field(default_factory=dict[str, Mapping[int, Level]])
    """Name of a list style -> its levels."""
    _parents: dict[str, str] = field(default_factory=dict[str, str])
    _hidden: set[str] = field(default_factory=set[str])
    _automatic: set[str] = field(default_factory=set[str])

    def read(self, root: Element) -> None:
        """Learn what a group of styles declares."""
        for one in root.iter(STYLE + "style"):
            name = one.get(STYLE + "name") or ""
            self._parents[name] = one.get(STYLE + "parent-style-name") or ""
            if root.tag == AUTOMATIC:
                self._automatic.add(name)
            if any(look.get(TEXT + "display") == "none" for look in one):
                self._hidden.add(name)
        for one in root.iter(TEXT + "list-style"):
            self.lists[one.get(STYLE + "name") or ""] = _levels(one)
        for one in root.iter(TEXT + "outline-style"):
            self.outline = Labels(_levels(one))

    def is_hidden(self, name: str | None) -> bool:
        """Tell whether text of this style is not shown."""
        return name in self._hidden

    def name(self, name: str | None) -> str:
        """Name the style that an author chose, as it is called in English; empty for none."""
        for _ in range(_DEEPEST_PARENT):
            if name not in self._automatic:
                break
            name = self._parents.get(name)
        return (name or "").replace("_20_", " ")


def number(element: Element, name: str, otherwise: int, most: int) -> int:
    """Give an attribute that is a number."""
    said = element.get(name) or ""
    whole = said.isascii() and said.isdigit() and len(said) <= 9  # noqa: PLR2004 - no overflow
    return min(int(said), most) if whole else otherwise


def _levels(root: Element) -> dict[int, Level]:
    return {
        number(one, TEXT + "level", 1, 10) - 1: _level(one) for one in root if one.tag in _LEVELS
    }


def _level(rule: Element) -> Level:
    if rule.tag in _LEVELS[:2]:
        return Level("bullet")
    form = rule.get(STYLE + "num-format") or ""
    level = number(rule, TEXT + "level", 1, 10)
    if not form:
        return Level("none")
    shown = number(rule, TEXT + "display-levels", 1, level)
    places = ".".join(f"%{at}" for at in range(level - shown + 1, level + 1))
    before, after = (rule.get(f"{STYLE}num-{side}") or "" for side in ("prefix", "suffix"))
    start = number(rule, TEXT + "start-value", 1, 9999)
    return Level(_FORMS.get(form, "decimal"), f"{before}{places}{after}", start)
