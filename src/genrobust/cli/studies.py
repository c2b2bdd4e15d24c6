"""The commands that take a recipe: run the whole study, show its state, or run one stage."""

import shlex
from collections.abc import Mapping
from math import isnan
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from genrobust.cli.opening import (
    list_work,
    open_studies,
    option_words,
    print_work,
    warn_of_images,
    with_executor,
    with_study,
)
from genrobust.cli.options import MODELS, OUT, ArmName, ClassifierLabels, DatasetName, Quick, Run, Sets, option
from genrobust.cli.program import STUDY, command, err_console, out_console, tell
from genrobust.core import UserError

# A command imports what it needs when it runs, so that --help answers at once.
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from genrobust.core import Predictions
    from genrobust.robustness import ImageMetric
    from genrobust.study import Row, Study, TrainingRun

MetricNames = Annotated[
    list[str] | None, option("--metric NAME", "A metric of genrobust list; default: top1; repeatable.")
]


@command(rich_help_panel=STUDY)
@with_study
def run(study: "Study") -> None:
    """Run a study: generate, train every arm, evaluate, report. Finished jobs are not run again.

    Example: genrobust run pictograms --quick
    """
    from genrobust.report import terminal

    rows = list_work(study, begins=True)
    print_work(rows, err_console, study.recipe.title or study.recipe.name)
    study.make()
    view, files = study.write_report()
    out_console.print()
    out_console.print(terminal(view))
    tell(*(_report_path(study, name) for name in files if not name.endswith(".svg")))
    out_console.print()
    for sentence in view.answer.sentences:
        style = "bold" if sentence == view.answer.verdict else None
        out_console.print(escape(sentence), style=style, soft_wrap=False)


@command(rich_help_panel=STUDY)
@with_study
def show(
    study: "Study",
    ctx: typer.Context,
    values: Annotated[bool, option("--yaml", "Print the recipe with all its values instead.")] = False,
    prompts: Annotated[
        int | None, option("--prompts N", "Print the first N prompts of a dataset instead.", min=1, max=10_000)
    ] = None,
    dataset: DatasetName = None,
) -> None:
    """Show which jobs of a study are done and which are left, or its recipe, or its prompts.

    --prompts prints them with the key, the seed and the style of each image.

    Example: genrobust show pictograms
    """
    from genrobust.recipe import recipe_yaml
    from genrobust.study import describe_others

    if dataset and not prompts:
        raise UserError("--dataset is about prompts: add --prompts N")
    if prompts:
        _print_prompts(study, dataset or study.recipe.first_generated_set, prompts)
        return
    if values:
        out_console.print(escape(recipe_yaml(study.recipe)), end="")
        return
    rows = list_work(study)
    print_work(rows, out_console, study.recipe.title or study.recipe.name)
    tell(*describe_others(study.makers()))
    tell(*_next_steps(study, rows, ctx))


def _print_prompts(study: "Study", dataset: str, count: int) -> None:
    """Print the first `count` prompts of a dataset, with the key, the seed and the style of each image."""
    requests = study.dataset(dataset).plan
    shown = [requests[index] for index in range(min(count, len(requests)))]
    cells = {
        "key": [request.key for request in shown],
        "seed": [str(request.seed) for request in shown],
        "style": [request.style for request in shown],
        "prompt": [request.prompt for request in shown],
        "from the real image": [request.source or "" for request in shown],
    }
    # A class-conditional model has no prompts.
    columns = {head: values for head, values in cells.items() if any(values)}
    table = Table(title=f"{len(shown):,} of {len(requests):,} requests")
    for head in columns:
        table.add_column(head, overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(escape, row))
    out_console.print(table)
    rule = study.recipe.filter_of(dataset)
    if rule:
        tell(f"after generation, a filter leaves out {rule.in_words()}")


@command(rich_help_panel=STUDY)
@with_study
def generate(study: "Study", dataset: DatasetName = None) -> None:
    """Generate the missing images of a dataset.

    Example: genrobust generate pictograms --dataset generated
    """
    warn_of_images(study)
    generated = study.generate(dataset or study.recipe.first_generated_set)
    tell(f"{len(generated):,} images in {generated.folder}")


@command(rich_help_panel=STUDY)
@with_study
def train(study: "Study", arm: ArmName = None) -> None:
    """Train the classifiers of the arms, and those of the baseline line if the recipe trains its own.

    Example: genrobust train pictograms --arm real
    """
    runs = _training_runs(study, arm)
    warn_of_images(study)
    for run, folder in zip(runs, study.train(runs), strict=True):
        tell(f"{run.name}: {folder}")


@command(rich_help_panel=STUDY)
@with_study
def evaluate(
    study: "Study",
    ctx: typer.Context,
    sets: Sets,
    quick: Quick,
    arm: ArmName = None,
    models: Annotated[list[str] | None, MODELS] = None,
    labels: ClassifierLabels = None,
    metric: MetricNames = None,
    run: Run = False,
) -> None:
    """Score the classifiers of a study, or those of --models, on its test sets.

    Missing classifiers of the study are trained first.

    Example: genrobust evaluate pictograms --arm real
    """
    from genrobust.robustness import image_metric
    from genrobust.store import address
    from genrobust.study import predictions_of

    if models and arm is not None:
        raise UserError(f"--arm {arm} is an arm of the recipe, and --models names other classifiers: leave one out")
    if labels and not models:
        raise UserError(f"--labels {labels} names the classes of --models: add --models")
    chosen = [image_metric(name) for name in metric or ["top1"]]
    warn_of_images(study)
    if models:
        heads = ["classifier"]
        overrides = with_executor(sets, ctx.params["executor"])
        studies = open_studies(ctx, overrides, quick, run, str(address(study.out)), ctx.params["device"])
        others = predictions_of(study, models, studies, labels)
        scored: Iterator[tuple[list[str], Mapping[str, Predictions]]] = (([name], of) for name, of in others)
    else:
        heads = ["arm", "seed"]
        scored = _arm_predictions(study, arm)
    tables = []
    for of in chosen:
        title = ", ".join(filter(None, [of.title, of.unit, "over each set's own classes"]))
        tables.append(Table(*heads, *map(escape, study.tests), title=title))
    for names, predictions in scored:
        for table, of in zip(tables, chosen, strict=True):
            table.add_row(*map(escape, names), *_values(study, of, predictions))
        _warn_of_labels(", seed ".join(names), predictions)
    out_console.print(*tables)


def _values(study: "Study", metric: "ImageMetric", predictions: "Mapping[str, Predictions]") -> "Iterator[str]":
    for test, images in study.context.test_sets.items():
        value = metric.value(predictions[test], images.groups, images.pictures)
        yield "-" if isnan(value) else f"{value:.{metric.digits}f}"


def _warn_of_labels(name: str, predictions: "Mapping[str, Predictions]") -> None:
    """Warn of the test sets on which a classifier is significantly worse than guessing."""
    from genrobust.report import MISLABELED, is_below_guessing, number, span
    from genrobust.robustness import top1_score

    for test, of_test in predictions.items():
        score = top1_score(of_test)
        if is_below_guessing(score):
            reached = f"{number(score.value)} % ({span(score)})"
            chance = number(100 / score.classes)
            words = f"{name} on {test}: {reached} is surely below guessing ({chance} %): perhaps {MISLABELED}"
            err_console.print(f"[bold yellow]warning:[/] {escape(words)}")


def _arm_predictions(study: "Study", arm: str | None) -> "Iterator[tuple[list[str], Mapping[str, Predictions]]]":
    runs = [run for run in _training_runs(study, arm) if not run.baseline]
    for run, predictions in zip(runs, study.predictions(runs), strict=True):
        yield [run.of, str(run.seed)], predictions


def _training_runs(study: "Study", arm: str | None) -> "list[TrainingRun]":
    return study.runs(None if arm is None else study.recipe.arm(arm).name)


def _report_path(study: "Study", name: str) -> "Path":
    """Return the path of a file of the report, through the link with the name of the study if it leads there."""
    link = study.out / study.recipe.name
    is_linked = link.resolve() == study.report_folder.resolve()
    return (link if is_linked else study.report_folder) / name


def _next_steps(study: "Study", rows: "Sequence[Row]", ctx: typer.Context) -> "Iterator[str]":
    """Yield the command that runs what is left, or the path of the report and a command that uses its classifier."""
    from genrobust.report import REPORT

    recipe = ctx.params["recipe"]
    if any(row.left for row in rows):
        yield f"to run what is left: {_command_about(ctx, 'run', recipe)}"
        yield from _describe_newest_run(study, ctx)
    elif study.find_report(REPORT) is None:
        yield f"all jobs are done; to write the report: {_command_about(ctx, 'run', recipe)}"
    else:
        yield f"the report: {_report_path(study, REPORT)}"
        if study.describe_report_copy():
            yield study.describe_report_copy()
        model = f"{recipe}:{_answer_arm(study)}"
        yield f"to classify your own images: {_command_about(ctx, 'predict', model, 'FOLDER')}"


def _describe_newest_run(study: "Study", ctx: typer.Context) -> "Iterator[str]":
    """Yield a line about the newest finished run of the recipe with more options. predict and export use that run."""
    from genrobust.report import REPORT
    from genrobust.study import finished_runs

    given = ctx.params
    for run in finished_runs(given["out"]):
        if run.varies(given["recipe"], given["quick"], given["sets"] or []):
            yield f"{run.describe()} is finished: {run.folder / REPORT}"
            if study.has_other_images(run.folder):
                yield (
                    "it had the same recipe and other images, or copies of them with other times: copy images with "
                    "cp -a or rsync -a"
                )
            return


def _answer_arm(study: "Study") -> str:
    """Return the arm of the report's answer, or the reference. Of a group, return the first arm."""
    arm = study.recipe.answer or study.recipe.reference
    if arm in study.recipe.arm_names:
        return arm
    return study.recipe.groups()[arm][0]


def _command_about(ctx: typer.Context, *words: str) -> str:
    """Return a command about the study of `ctx`, with its options."""
    given = ctx.params
    command = ["genrobust", *words, *option_words(given["quick"], given["sets"])]
    if given["device"]:
        command += ["--device", given["device"]]
    if given["out"] != OUT:
        command += ["--runs", given["out"]]
    return shlex.join(command)
