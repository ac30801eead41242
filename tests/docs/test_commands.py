"""Every command in the documentation is one that exists, with options that it has."""

import os
import re
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module

import click
import pytest

from tests.docs.pages import ROOT, Block, blocks, code_spans

_OURS = re.compile(r"(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/)?vectorflow(?: (.*))?")
_SEPARATORS = frozenset({"|", "||", "&&", ";", ">", ">>", "<", "2>", "&"})


def _command_lines(block: Block) -> Iterator[list[str]]:
    """Arguments of each `vectorflow` in a shell block; of a session, only of what is typed."""
    text = block.text.replace("\\\n", " ")
    session = any(line.startswith("$ ") for line in text.splitlines())
    for line in text.splitlines():
        if not session or line.startswith("$ "):
            yield from _in_line(line.removeprefix("$ "))


def _in_line(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in _SEPARATORS:
            words.append(word)
            continue
        while words and re.fullmatch(r"[A-Z_0-9]+=.*", words[0]):
            words.pop(0)
        words = _in_container(words)
        if words and os.path.basename(words[0]) == "vectorflow":  # noqa: PTH119 - a command's name
            yield words[1:]
        words = []


def _in_container(words: list[str]) -> list[str]:
    """Leave out what starts a command in a service of ours, as in `docker compose exec api`."""
    for place in range(2, len(words)):
        if words[:2] == ["docker", "compose"] and words[place - 1] in {"api", "worker"}:
            return words[place:]
    return words


def _parse(arguments: list[str]) -> None:
    """Do what click does before it runs a command, and no more."""
    command: click.Command = import_module("vectorflow.cli.main").vectorflow
    name = "vectorflow"
    parent: click.Context | None = None
    while True:
        context = command.make_context(name, arguments, parent=parent)
        if not isinstance(command, click.Group):
            return
        rest = [*context._protected_args, *context.args]  # noqa: SLF001 - what Group.invoke does
        if command.invoke_without_command and not rest:
            return
        found, child, arguments = command.resolve_command(context, rest)
        assert child is not None
        name, command, parent = found or "", child, context


SHELL = [
    (block, line) for block in blocks("sh", "console", "bash") for line in _command_lines(block)
]
SPANS = sorted(
    {(page, span) for page, span in code_spans() if re.match(r"(\S*/)?vectorflow( |$)", span)}
)


def test_the_documentation_shows_commands() -> None:
    assert len(SHELL) > 20
    assert len(SPANS) > 10


@pytest.mark.parametrize(
    ("block", "arguments"), SHELL, ids=[f"{block} {' '.join(line)}" for block, line in SHELL]
)
def test_a_command_to_copy_is_understood(block: Block, arguments: list[str]) -> None:
    del block

    _parse(arguments)


@pytest.mark.parametrize(("page", "span"), SPANS, ids=[f"{page} {span}" for page, span in SPANS])
def test_a_command_in_prose_exists(page: str, span: str) -> None:
    del page
    arguments = [word for word in shlex.split(span)[1:] if word not in {"…", "--help", "COMMAND"}]

    with suppress(click.exceptions.NoArgsIsHelpError, click.MissingParameter):
        _parse(arguments)  # prose may leave out what a command is given


@pytest.mark.parametrize(
    "arguments", [["fly"], ["embed", "--wings", "x"], ["jobs", "fly"], ["search"]]
)
def test_a_command_that_does_not_exist_is_found_out(arguments: list[str]) -> None:
    with pytest.raises(click.UsageError):
        _parse(arguments)


def test_make_verbs_in_the_documentation_exist() -> None:
    verbs = set(
        re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    )
    shown = {
        word
        for text in [block.text for block in blocks("sh", "console", "bash", "")]
        + [span for _, span in code_spans()]
        for word in re.findall(r"(?:^|\n|&& |\$ )\s*make ([a-z-]+)", text)
    }

    assert shown >= {"demo", "test"}
    assert shown <= verbs


def test_benchmarks_in_the_documentation_exist() -> None:
    known = import_module("benchmarks.__main__").BENCHMARKS
    shown = {
        name
        for text in [block.text for block in blocks("sh", "console", "bash", "")]
        + [span for _, span in code_spans()]
        for name in re.findall(r"(?:python -m benchmarks|make bench ARGS=)\"?([a-z_]+)", text)
    }

    assert shown
    assert shown <= set(known)
    assert all((ROOT / "benchmarks" / f"{name}.py").exists() for name in shown)


def test_test_files_in_the_documentation_exist() -> None:
    shown = {
        path
        for text in [block.text for block in blocks("sh", "console", "bash", "")]
        + [span for _, span in code_spans()]
        for path in re.findall(r"\b(tests/[\w/]+(?:\*|\.py)?)", text)
    }

    assert shown
    assert [path for path in sorted(shown) if not list(ROOT.glob(path))] == []


def test_the_gate_can_be_run() -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & stat.S_IXUSR
