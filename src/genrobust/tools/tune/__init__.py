"""Tunes a recipe: tries variants of its arms on shifted validation images, and writes a recipe of the best."""

import re
import shlex
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from genrobust.cli import (
    COMMANDS,
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
    from genrobust.tools.tune.tuning import Tuned

TRIALS_SHOWN = 8  # of a round


@COMMANDS.register("tune")
@in_group(STUDY)
@with_study
def tune(
    study: "Study",
    ctx: typer.Context,
    budget: Annotated[str, option("--budget TIME", "How long it may take, about: 90s, 30m or 2h.")],
    seed: Annotated[int, option("--seed N", "Draws the order in which variants are tried.", min=0)] = 0,
) -> None:
    """Search for better arms on shifted validation images, and write a recipe of the best.

    Example: genrobust tune pictograms --budget 30m
    """
    from genrobust.recipe import load_recipe
    from genrobust.tools.tune.tuning import Tuning

    recipe = load_recipe(ctx.params["recipe"], ctx.params["sets"] or [], ctx.params["quick"])
    seconds = _parse_time("--budget", budget)
    tuning = Tuning(recipe, study.out, seconds, study.context.executor, say, seed, words_of(ctx))
    list_work(study)
    _print_tuned(tuning.run())


def _parse_time(option: str, text: str) -> float:
    """The seconds in ``90s``, ``30m`` or ``2h``."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smh])", text)
    if not match or not float(match[1]):
        raise UserError(f"{option} {text[:40]}: write a time such as 90s, 30m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def _print_tuned(tuned: "Tuned") -> None:
    """Print what was tried, and whether anything is better than the recipe's own arm."""
    from genrobust.report import number, span

    for turn in dict.fromkeys(trial.round for trial in tuned.trials):
        table = Table("variant", "trained", "top-1, %", title=f"round {turn}: the best, on {', '.join(tuned.on)}")
        for trial in [trial for trial in tuned.trials if trial.round == turn][:TRIALS_SHOWN]:
            table.add_row(escape(trial.variant.name), trial.length, f"{trial.score:.1f}")
        out_console.print(table)
    tell(*tuned.files.values())
    gain, best, default = tuned.gain, escape(tuned.best), escape(tuned.default)
    words = f"{number(gain.value, True)} points on {', '.join(tuned.on)} (95 % interval {span(gain, True)})"
    if tuned.is_better:
        answer = f"[bold]{best} beats {default}: {words}.[/] These images chose it, which flatters it: test it."
    else:
        answer = f"[bold]Nothing tried beats {default} beyond chance.[/] The best was {best}: {words}."
    out_console.print(f"\n{answer}", soft_wrap=False)
    tell(f"to measure it on test images: {shlex.join(['genrobust', 'run', str(tuned.files['recipe'])])}")
