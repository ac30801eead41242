"""What a child is started with."""

from dataclasses import asdict, dataclass
from typing import Self

import orjson

from vectorflow.sandbox.limits import Limits
from vectorflow.sandbox.places import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """The argument of a child."""

    channel: int
    """Descriptor of the connection to the worker."""
    lifeline: int
    """Descriptor of a pipe that breaks when the worker dies."""
    limits: Limits
    places: Places

    @property
    def text(self) -> str:
        """As an argument of a command."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Read what `text` wrote."""
        given = orjson.loads(text)
        places = {name: tuple(paths) for name, paths in given.pop("places").items()}
        return cls(limits=Limits(**given.pop("limits")), places=Places(**places), **given)
