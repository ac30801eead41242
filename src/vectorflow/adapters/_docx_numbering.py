"""Numbering of a Word document: which list counts which paragraphs."""

from vectorflow.adapters._docx_styles import ListPlace, W, number, value
from vectorflow.adapters._list_labels import BULLET, DEEPEST, Labels, Level
from vectorflow.adapters._xml_tree import Element


class Numbering:
    """Counts list items and numbered headings down the document."""

    def __init__(self, root: Element | None) -> None:
        rules = {one.get(W + "abstractNumId") or "": one for one in _children(root, "abstractNum")}
        # Lists made from the same rules go on counting where the other one stopped.
        shared = {name: Labels(_levels(one)) for name, one in rules.items()}
        lists = {one.get(W + "numId") or "": one for one in _children(root, "num")}
        self._labels = {
            name: shared[rule]
            for name, one in lists.items()
            if (rule := value(one, "abstractNumId")) in shared
        }
        self._restarts = {name: _restarts(one) for name, one in lists.items()}

    def label(self, place: ListPlace) -> str:
        """Count an item, and say what stands before its text."""
        labels = self._labels.get(place.list_id)
        if labels is None:
            return BULLET
        for level, start in self._restarts.pop(place.list_id, {}).items():
            labels.restart(level, start)
        return labels.next(place.level)


def _levels(rule: Element) -> dict[int, Level]:
    return {
        level: Level(
            form=value(one, "numFmt") or "decimal",
            text=value(one, "lvlText"),
            start=number(one, "start", 0),
            digits=one.find(W + "isLgl") is not None,
        )
        for one in _children(rule, "lvl")
        if (level := _level(one)) is not None
    }


def _restarts(declared: Element) -> dict[int, int]:
    return {
        level: number(one, "startOverride", 1)
        for one in _children(declared, "lvlOverride")
        if (level := _level(one)) is not None and one.find(W + "startOverride") is not None
    }


def _level(element: Element) -> int | None:
    said = element.get(W + "ilvl") or ""
    return int(said) if said in {str(level) for level in range(DEEPEST + 1)} else None


def _children(element: Element | None, name: str) -> list[Element]:
    return [] if element is None else [child for child in element if child.tag == W + name]
