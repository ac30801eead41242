"""The Dockerfile, read as far as tests need it."""

import json
import re
import shlex
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGES = ("vectorflow_api", "vectorflow_worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One `FROM` and what follows it."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    """Instruction and its argument, on one line."""

    def all(self, instruction: str) -> list[str]:
        return [argument for name, argument in self.steps if name == instruction]


def stages() -> dict[str, Stage]:
    """All stages by their names, in order."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    found: dict[str, Stage] = {}
    for line in text.replace("\\\n", " ").splitlines():
        instruction, _, rest = line.strip().partition(" ")
        argument = " ".join(rest.split())
        if instruction == "FROM":
            base, _, name = argument.partition(" AS ")
            stage = found[name] = Stage(name=name, base=base)
        elif instruction:
            stage.steps.append((instruction, argument))
    return found


def steps_of(image: str) -> list[tuple[str, str]]:
    """All that makes up an image, of the stages under it too."""
    known = stages()
    stage = known[image]
    below = steps_of(stage.base) if stage.base in known else []
    return below + stage.steps


def last(image: str, instruction: str) -> str:
    """What holds in the end."""
    return [argument for name, argument in steps_of(image) if name == instruction][-1]


def words(argument: str) -> list[str]:
    """A command in the form that starts no shell."""
    value = json.loads(argument)
    assert isinstance(value, list)
    return value


def variables(image: str) -> dict[str, str]:
    """What `ENV` sets."""
    pairs = [
        word.partition("=")
        for name, argument in steps_of(image)
        if name == "ENV"
        for word in shlex.split(argument)
    ]
    return {name: value for name, _, value in pairs}


def copied() -> list[str]:
    """Every path of this checkout that gets into an image."""
    given = [shlex.split(copy) for stage in stages().values() for copy in stage.all("COPY")]
    return [source for copy in given if not copy[0].startswith("--from=") for source in copy[:-1]]


def is_sent(path: str) -> bool:
    """Whether a path is in the build's context; the last rule that speaks of it decides."""
    sent = True
    ways = [Path(path), *Path(path).parents]
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        rule = line.removeprefix("!")
        name = rule.removeprefix("**/")
        if any(fnmatch(way.name if name != rule else str(way), name) for way in ways):
            sent = line.startswith("!")
    return sent
