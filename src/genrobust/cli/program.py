"""The program, its consoles, and how it reports errors."""

from __future__ import annotations

import os
import re
import shlex
import signal
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.segment import Segment
from typer.core import TyperCommand, TyperGroup

from genrobust import __version__
from genrobust.cli.options import option
from genrobust.core import (
    GenrobustError,
    Registry,
    UserError,
    escape_unprintable,
    interrupt,
    is_interrupted,
    is_out_of_memory,
    mask_secrets,
    warn_of_plugins,
)
from genrobust.store import expand_home, refusal

WORDS = "genrobust.words"  # where a context keeps the words of its command
STUDY, DATA, USE, START = "Run a study", "Check and clean images", "Use and compare results", "Set up"
GROUPS = (STUDY, DATA, USE, START)  # in --help and in the reference
# Settings of a command whose parameters are not known.
ANY_ARGUMENTS = {"ignore_unknown_options": True, "allow_extra_args": True}
# Limits of an error message. Messages of libraries can list every tensor of a network.
LINES, WIDTH = 3, 1000


class _Console(Console):
    """A console that escapes characters of foreign texts that control a terminal."""

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else escape_unprintable(text, kept="\t\n"), style, control)


# With soft_wrap, a path or a line of YAML stays one line in a pipe.
out_console = _Console(highlight=False, soft_wrap=True, emoji=False)
err_console = _Console(highlight=False, soft_wrap=True, emoji=False, stderr=True)


class _Command(TyperCommand):
    """A command that reports any error as one message and an exit code: 2 for a user error, 1 for a failure."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            warn_of_plugins()
            ctx.params = {name: _with_home(value) for name, value in ctx.params.items()}
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader, such as head, has closed the pipe. typer ends quietly.
            raise
        except SystemExit as error:
            # rich exits if the pipe is closed.
            if isinstance(error.__context__, BrokenPipeError):
                raise
            # Ray exits at SIGTERM.
            if error.code == signal.SIGTERM:
                interrupt(signal.SIGTERM)
            raise _exit(ctx, error) from None
        except Exception as error:
            raise _exit(ctx, error) from None


def _exit(ctx: Any, error: BaseException) -> Exception:
    """Report `error`, and return the exception that ends the command.

    Raises:
        KeyboardInterrupt: A signal came, which may have caused the error.
    """
    if is_interrupted():
        raise KeyboardInterrupt from None
    if ctx.find_root().params["debug"]:
        traceback.print_exc()
    known = error if isinstance(error, GenrobustError) else _explained(error)
    if known is not None:
        err_console.print(f"[bold red]error:[/] {escape(_short(str(known)))}")
        return typer.Exit(known.exit_code)
    err_console.print(f"[bold red]unexpected {type(error).__name__}:[/] {escape(_short(str(error), LINES - 1))}")
    err_console.print("for the traceback, put --debug first: genrobust --debug COMMAND ...")
    return typer.Exit(1)


Function = TypeVar("Function", bound=Callable[..., Any])
COMMANDS: Registry[Callable[..., Any]] = Registry("command", "genrobust.commands", "genrobust.tools")


class _Program(TyperGroup):
    """The commands by group: own commands first, then tools. Usage errors show no secrets."""

    def __init__(self, *, commands: dict[str, Any], **settings: Any) -> None:
        named = {**commands, **_tools(), **commands}
        places = {group: place for place, group in enumerate(GROUPS)}
        order = sorted(named, key=lambda name: places.get(named[name].rich_help_panel, len(places)))
        super().__init__(commands={name: named[name] for name in order}, **settings)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            # A usage error, which typer breaks into the lines of a box.
            if hasattr(error, "message"):
                error.message = mask_secrets(error.message)
            raise


def _tools() -> dict[str, Any]:
    tools = typer.Typer()
    for name in COMMANDS.names():
        try:
            function, settings = COMMANDS.get(name), {}
        except UserError as error:
            function, settings = _fail(error), ANY_ARGUMENTS
        group = getattr(function, "group", "Others")
        tools.command(name, cls=_Command, rich_help_panel=group, context_settings=settings)(function)
    return dict(typer.main.get_group(tools).commands)


def _fail(error: UserError) -> Callable[[], None]:
    """Return a function for a command that cannot be loaded. It raises `error`, which is also its help text."""

    def fail() -> None:
        raise error

    fail.__doc__ = str(error)
    return fail


def _with_home(value: Any) -> Any:
    """Replace ``~/`` in the value of a parameter by the home folder. A shell does not do so in quotes."""
    if isinstance(value, Path):
        # Import late: it loads numpy, which is too slow for --help.
        from genrobust.data import is_on_hub
        from genrobust.store import local_folder

        return value if is_on_hub(value) else local_folder(value)
    if isinstance(value, list | tuple):
        return [_with_home(item) for item in value]
    # A text may be NAME=~/folder.
    if isinstance(value, str):
        return re.sub(r"^([^=/]*=)?(~/.*)", lambda match: (match[1] or "") + expand_home(match[2]), value)
    return value


def _explained(error: BaseException) -> GenrobustError | None:
    """Explain a failure of the system or a library. None for other errors."""
    why = str(error) or type(error).__name__
    match error:
        case OSError(filename=str() | bytes() as name) if error.strerror:
            return refusal(Path(os.fsdecode(name)), error, "use")
        case OSError():
            return GenrobustError(f"the system refuses: {why}: fix this and rerun")
        case UnicodeError() | RecursionError() | OverflowError():
            return UserError(f"a text, a name or a number of the input cannot be read: {why}")
        case ImportError():
            return GenrobustError(f"a package cannot be loaded ({why}): reinstall it and its dependencies")
        case SystemExit():
            return GenrobustError(f"a library ended the program with the exit code {error.code}")
    if is_out_of_memory(error):
        return GenrobustError(f"out of memory: {why}: lower the batch size or the image size, or use fewer --workers")
    return None


def _short(text: str, most: int = LINES) -> str:
    """Shorten `text` to `most` lines of up to WIDTH characters."""
    lines = text.splitlines()
    if len(lines) > most:
        lines = [*lines[: most - 1], f"... and {len(lines) - most + 1} more lines"]
    return "\n".join(map(_shorten, lines))


def _shorten(line: str) -> str:
    if len(line) <= WIDTH:
        return line
    return f"{line[: WIDTH // 2]} ... {line[-WIDTH // 2 :]}"


app = typer.Typer(
    cls=_Program,
    help="Make image classifiers robust with generated data, and measure by how much.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
command = partial(app.command, cls=_Command)


def in_group(name: str) -> Callable[[Function], Function]:
    """Return a decorator that lists a command of COMMANDS below `name` in --help."""

    def decorate(function: Function) -> Function:
        function.group = name  # type: ignore[attr-defined]
        return function

    return decorate


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


def words_of(ctx: typer.Context, *more: str) -> str:
    return shlex.join(["genrobust", str(ctx.info_name), *ctx.meta[WORDS], *more])


def tell(*lines: object) -> None:
    """Print lines of a result to standard output."""
    for line in lines:
        out_console.print(escape(str(line)))


def say(line: str) -> None:
    """Log one line of progress to standard error."""
    err_console.print(f"[bold]·[/bold] {escape(line)}")
