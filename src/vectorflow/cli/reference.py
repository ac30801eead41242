"""Makes `docs/reference/cli.md` of the help texts."""

from collections.abc import Iterator

import click

from vectorflow.cli.main import vectorflow

WIDTH = 88

INTRODUCTION = """\
# Command line

`vectorflow --help` and `vectorflow COMMAND --help` print what stands here; this page is made of it
with `python -m vectorflow.cli.reference > docs/reference/cli.md`.

* **Data is on stdout**, progress and logs are on stderr; the first line there says where a command
  works.
* **`--json`** prints one JSON object on stdout. An error is one too:
  `{"error": {"code", "message", "fix"}}`.
* **`--data-dir`**, `--json` and `--debug` may stand before the command or after it.
* **Options beat** the environment, which beats `vectorflow.toml`; see the page on settings.
* **Ctrl-C** stops in good order, a second one at once. SIGTERM counts as the first. What is done is
  kept, and the same command goes on. `up`, `api` and `worker` exit with 0 then.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | an error; it says what happened and what to do |
| 2 | usage: the command line or a setting has to be changed |
| 3 | the job failed: no document of it became searchable, or it was cancelled, or it is paused |
| 4 | partial: some documents failed, the others are searchable |
| 130 | interrupted |
"""


def page() -> str:
    """Write the page."""
    sections = [INTRODUCTION]
    for path, text in helps(vectorflow, "vectorflow", None):
        sections.append(f"## {path}\n\n```text\n{text}\n```\n")
    return "\n".join(sections)


def helps(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[tuple[str, str]]:
    """Give the help text of a command and of those below it."""
    context = command.make_context(name, [], parent, resilient_parsing=True, terminal_width=WIDTH)
    path = context.command_path
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None:
                yield from helps(found, below, context)


if __name__ == "__main__":
    click.echo(page(), nl=False)
