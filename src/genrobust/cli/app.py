"""The program, its consoles, and how it reports errors."""

from __future__ import annotations

import traceback
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperCommand

from genrobust import __version__
from genrobust.cli.options import option
from genrobust.core import GenrobustError

INTERRUPTED = 130  # the exit code that a shell expects after Ctrl-C

out_console = Console(highlight=False, soft_wrap=True)  # does not wrap a path or a YAML line in a file or a pipe
err_console = Console(highlight=False, soft_wrap=True, stderr=True)


class _Command(TyperCommand):
    """A command that reports any error as one message and an exit code: 2 user error, 1 failure, 130 Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err_console.print("\ninterrupted: finished work is kept; run the same command again to resume")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise  # the reader, such as head, has closed the pipe; typer ends quietly
        except Exception as error:
            if ctx.find_root().params["debug"]:
                traceback.print_exc()
            if isinstance(error, GenrobustError):
                err_console.print(f"[bold red]error:[/] {escape(str(error))}")
                raise typer.Exit(error.exit_code) from None
            err_console.print(f"[bold red]unexpected {type(error).__name__}:[/] {escape(str(error))}")
            err_console.print("for the traceback, put --debug first: genrobust --debug COMMAND ...")
            raise typer.Exit(1) from None


app = typer.Typer(
    help="Make image classifiers robust with generated data, and measure by how much.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
command = partial(app.command, cls=_Command)


def _print_version(wanted: bool) -> None:
    if wanted:
        out_console.print(f"genrobust {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, option("--debug", "Show a traceback when something fails.")] = False,
    version: Annotated[bool, option("--version", "Print the version.", callback=_print_version, is_eager=True)] = False,
) -> None:
    del debug, version  # read by _Command and by _print_version


def tell(*lines: object) -> None:
    """Print lines of a result to standard output."""
    for line in lines:
        out_console.print(escape(str(line)))


def say(line: str) -> None:
    """Log one line of progress to standard error."""
    err_console.print(f"[bold]·[/bold] {escape(line)}")
