"""Tunes a recipe: tries variants of its arms on shifted validation images, and writes a recipe of the best."""

import re
import shlex
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from genrobust.cli import (
    COMMANDS,
    OUT,
    STUDY,
    in_group,
    list_work,
    option,
    out_console,
    say,
    tell,
    with_study,
    words_of,
)
from genrobust.core import UserError

if TYPE_CHECKING:
    from genrobust.study import Study


@COMMANDS.register("tune")
@in_group(STUDY)
@with_study
def tune(
    study: "Study",
    ctx: typer.Context,
    budget: Annotated[str, option("--budget TIME", "How long it may take, about: 90s, 30m or 2h.")],
) -> None:
    """Search for better arms on shifted validation images, and write a recipe of the best.

    Example: genrobust tune pictograms --budget 30m
    """
    from genrobust.report import number, span
    from genrobust.study import Studies
    from genrobust.tools.tune.tuning import Tuning

    given = ctx.params
    # The study has the recipe with what this machine chooses, such as a precision.
    recipe = Studies(study.out, say, given["sets"] or [], given["quick"], given["device"]).recipe(given["recipe"])
    seconds = _parse_time(budget)
    tuning = Tuning(recipe, study.out, seconds, study.context.executor, words_of(ctx), say)
    list_work(study)
    tuned = tuning.run()
    tell(*tuned.files.values())
    gain = tuned.gain
    best = escape(tuned.best)
    default = escape(tuned.default)
    words = f"{number(gain.value, True)} points on {', '.join(tuned.on)} (95 % interval {span(gain, True)})"
    if gain.lo > 0:
        answer = f"[bold]{best} beats {default}: {words}.[/] These images chose it, which flatters it: test it."
    else:
        answer = f"[bold]Nothing tried beats {default} beyond chance.[/] The best was {best}: {words}."
    out_console.print(f"\n{answer}", soft_wrap=False)
    where = [] if given["out"] == OUT else ["--runs", given["out"]]
    command = shlex.join(["genrobust", "run", str(tuned.files["recipe"]), *where])
    tell(f"to measure it on test images: {command}")


def _parse_time(text: str) -> float:
    """Return the seconds of ``90s``, ``30m`` or ``2h``."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smh])", text)
    if not match or not float(match[1]):
        raise UserError(f"--budget {text[:40]}: write a time such as 90s, 30m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
