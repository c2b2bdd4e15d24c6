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
STUDY, DATA, USE, START = GROUPS = (  # of commands, in --help and in the reference
    "Run a study",
    "Check and clean images",
    "Use and compare results",
    "Set up",
)

# For a command whose parameters are not known.
ANY_ARGUMENTS = {"ignore_unknown_options": True, "allow_extra_args": True}

LINES, WIDTH = 3, 1000  # of an error: libraries can list every tensor of a network in theirs


class _Console(Console):
    """A console that shows foreign texts without what would command the terminal."""

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else escape_unprintable(text, kept="\t\n"), style, control)


out_console = _Console(highlight=False, soft_wrap=True, emoji=False)  # wraps no path or YAML line in a pipe
err_console = _Console(highlight=False, soft_wrap=True, emoji=False, stderr=True)


class _Command(TyperCommand):
    """A command that reports any error as one message and an exit code: 2 user error, 1 failure."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            warn_of_plugins()
            ctx.params = {name: _with_home(value) for name, value in ctx.params.items()}
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader, such as head, has closed the pipe; typer ends quietly
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):
                raise  # as rich tells it
            if isinstance(error, SystemExit) and error.code == signal.SIGTERM:  # Ray's answer to it
                interrupt(signal.SIGTERM)
            if is_interrupted():
                raise KeyboardInterrupt from None
            if ctx.find_root().params["debug"]:
                traceback.print_exc()
            known = error if isinstance(error, GenrobustError) else _explained(error)
            if known is not None:
                err_console.print(f"[bold red]error:[/] {escape(_short(str(known)))}")
                raise typer.Exit(known.exit_code) from None
            err_console.print(
                f"[bold red]unexpected {type(error).__name__}:[/] {escape(_short(str(error), LINES - 1))}"
            )
            err_console.print("for the traceback, put --debug first: genrobust --debug COMMAND ...")
            raise typer.Exit(1) from None


Function = TypeVar("Function", bound=Callable[..., Any])
COMMANDS: Registry[Callable[..., Any]] = Registry("command", "genrobust.commands", "genrobust.tools")


class _Program(TyperGroup):
    """The commands by group, those of COMMANDS behind the program's own; their usage errors hold no secrets."""

    def __init__(self, *, commands: dict[str, Any], **settings: Any) -> None:
        tools = typer.Typer()
        for name in COMMANDS.names():
            try:
                function = COMMANDS.get(name)
            except UserError as error:
                tools.command(name, cls=_Command, rich_help_panel="Others", context_settings=ANY_ARGUMENTS)(
                    _fail(error)
                )
            else:
                tools.command(name, cls=_Command, rich_help_panel=getattr(function, "group", "Others"))(function)
        named = {**commands, **typer.main.get_group(tools).commands, **commands}
        places = {group: place for place, group in enumerate(GROUPS)}
        order = sorted(named, key=lambda name: places.get(named[name].rich_help_panel, len(places)))
        super().__init__(commands={name: named[name] for name in order}, **settings)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if hasattr(error, "message"):  # of a usage error, which typer breaks into the lines of a box
                error.message = mask_secrets(error.message)
            raise


def _fail(error: UserError) -> Callable[[], None]:
    """Return a function for a command that cannot be loaded. It raises `error`, which is its help text, too."""

    def fail() -> None:
        raise error

    fail.__doc__ = str(error)
    return fail


def _with_home(value: Any) -> Any:
    """Return the value of a parameter with the home folder for ``~/``, which a shell leaves alone in quotes.

    Raises:
        UserError: It is a URL, other than one of a dataset on the hub, and the parameter takes a folder.
    """
    if isinstance(value, Path):
        # Import late: it loads numpy, which is too slow for --help.
        from genrobust.data import is_on_hub
        from genrobust.store import local_folder

        return value if is_on_hub(value) else local_folder(value)
    if isinstance(value, list | tuple):
        return [_with_home(item) for item in value]
    if isinstance(value, str):  # such as NAME=~/folder
        return re.sub(r"^([^=/]*=)?(~/.*)", lambda match: (match[1] or "") + expand_home(match[2]), value)
    return value


def _explained(error: BaseException) -> GenrobustError | None:
    """Explain a failure of the system or a library that no code closer to it has explained; None for any other."""
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
    """At most `most` lines of `text`, each of a length that a person reads."""
    lines = [
        line if len(line) <= WIDTH else f"{line[: WIDTH // 2]} ... {line[-WIDTH // 2 :]}" for line in text.splitlines()
    ]
    return "\n".join(
        lines if len(lines) <= most else [*lines[: most - 1], f"... and {len(lines) - most + 1} more lines"]
    )


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
    """Return the command line of `ctx` with `more` options."""
    return shlex.join(["genrobust", str(ctx.info_name), *ctx.meta[WORDS], *more])


def tell(*lines: object) -> None:
    """Print lines of a result to standard output."""
    for line in lines:
        out_console.print(escape(str(line)))


def say(line: str) -> None:
    """Log one line of progress to standard error."""
    err_console.print(f"[bold]·[/bold] {escape(line)}")
