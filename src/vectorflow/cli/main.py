"""The command `vectorflow`: finds the command asked for, and says what went wrong with it."""

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from vectorflow.cli import options, output
from vectorflow.cli.exit_codes import DONE, ERROR, INTERRUPTED, USAGE

COMMANDS = (
    "up",
    "embed",
    "search",
    "chunks",
    "jobs",
    "failures",
    "backlog",
    "tenants",
    "keys",
    "secrets",
    "cache",
    "doctor",
    "reconcile",
    "config",
    "api",
    "worker",
    "db",
)


class LazyGroup(click.Group):
    """Imports the module of a command when it is asked for; its help imports nothing heavy."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Name the commands in the order in which they are met."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"vectorflow.cli.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 error, 2 usage, 3 job failed, 4 partial, 130 interrupted.",
)
@options.everywhere
@options.version
def vectorflow() -> None:
    """Any file into any vector database: nothing lost, nothing stale, paid once.

    Everything is kept in one data directory; no server, account or key is needed.
    """


def main() -> None:
    """Run the command that the program was called with."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command to its end and give its exit code."""
    as_json, debug = (flag in arguments for flag in ("--json", "--debug"))
    try:
        code = vectorflow.main(list(arguments), prog_name="vectorflow", standalone_mode=False)
        output.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.ClickException as error:
        output.show_error(output.usage_fault(error), as_json=as_json)
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        output.show_error(output.INTERRUPTED, as_json=as_json)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the command line's edge: whoever called us wants a sentence
        if debug:
            output.show_traceback(error)
        output.show_error(output.fault_of(error), as_json=as_json)
        return ERROR
    return code if isinstance(code, int) else DONE
