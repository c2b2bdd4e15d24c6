"""The commands that take a recipe: run the whole study, show its state, or run one stage."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from rich.markup import escape
from rich.table import Table

from genrobust.cli.app import err_console, out_console, say, tell
from genrobust.cli.opening import ANYWHERE, HERE, study_command
from genrobust.cli.options import MODELS, ArmName, DatasetName, Estimate, ModelLabels, option
from genrobust.core import UserError

if TYPE_CHECKING:  # a command imports what it needs when it runs, so that --help answers at once
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from genrobust.core import Predictions
    from genrobust.study import Row, Study, TrainingRun


@study_command(*ANYWHERE)
def run(study: "Study", estimate: Estimate = True) -> None:
    """Run a study: generate, train every arm, evaluate, report."""
    _print_work(study, _rows(study, estimate), err_console)
    _write_report(study)


@study_command(*HERE, "workers")
def show(
    study: "Study",
    estimate: Estimate = True,
    values: Annotated[bool, option("--yaml", "Print the recipe with all its values instead.")] = False,
) -> None:
    """Show which jobs of a study are done and which are left, or with --yaml the recipe itself."""
    from genrobust.recipe import recipe_yaml

    if values:
        out_console.print(escape(recipe_yaml(study.recipe)), end="")
        return
    try:
        rows = _rows(study, estimate)
    except UserError as error:
        if study.recipe.data.source != "imagenet":
            raise
        _print_planned(study, error)
    else:
        _print_work(study, rows, out_console)
        if groups := {test: Counter(of) for test, of in study.data.image_groups.items() if test in study.tests}:
            some = (f"{len(of):,} in {test} ({_largest(of)})" for test, of in groups.items())
            tell(f"groups of images: {', '.join(some)}")
    if unmixed := study.recipe.unmixed_sets():
        tell(f"no arm mixes {', '.join(unmixed)}; to generate one: genrobust generate RECIPE --dataset NAME")


@study_command("recipe", "sets")
def plan(
    study: "Study",
    dataset: DatasetName = "generated",
    count: Annotated[int, option("--count N", "Number of requests to print.", min=1, max=10_000)] = 20,
) -> None:
    """Print the first requests of a dataset's plan: key, seed, style and prompt of each image."""
    requests = study.dataset(dataset).plan
    shown = [requests[index] for index in range(min(count, len(requests)))]
    columns = ["key", "seed", "style", "prompt", *(["from the real image"] if shown[0].source else [])]
    table = Table(title=f"{len(shown):,} of {len(requests):,} requests")
    for column in columns:
        table.add_column(column, overflow="fold")  # never cuts a key or a seed on a narrow screen
    for request in shown:
        cells = (request.key, str(request.seed), request.style, request.prompt, request.source or "")
        table.add_row(*map(escape, cells[: len(columns)]))
    out_console.print(table)
    if rule := study.recipe.filter_of(dataset):
        tell(f"after generation, a filter leaves out {rule.in_words()}")


@study_command(*ANYWHERE)
def generate(
    study: "Study",
    dataset: DatasetName = "generated",
    shards: Annotated[
        str | None, option("--shards K/N", "Only part K of N of the shards, counted from 1, as in a job array.")
    ] = None,
) -> None:
    """Generate the missing images of a dataset."""
    part = None if shards is None else _part("--shards", shards)
    made = study.dataset(dataset)
    count = len(made.images if part is None else made.make(part))
    tell(f"{count:,} images in {made.folder}")


@study_command(*HERE)
def finetune(study: "Study") -> None:
    """Fine-tune the recipe's generator on its real training images."""
    stage = study.graph.finetune()
    if not any(dataset.finetuned for dataset in study.recipe.datasets.values()):
        say("no dataset of the recipe is finetuned: nothing in it uses this generator (datasets.NAME.finetuned)")
    stage.run()
    tell(stage.trained.folder)


@study_command(*ANYWHERE)
def train(
    study: "Study",
    arm: ArmName = None,
    cells: Annotated[
        str | None,
        option("--cells K/N", "Only part K of N of the trainings (arms x seeds, and baselines), counted from 1."),
    ] = None,
) -> None:
    """Train the classifiers of the arms, and those of the baseline line if the recipe trains its own."""
    runs = _runs(study, arm)
    chosen = runs if cells is None else _cells(study, runs, _part("--cells", cells))
    for run, folder in zip(chosen, study.train(chosen), strict=True):
        tell(f"{run.name}: {folder}")


@study_command(*ANYWHERE)
def evaluate(
    study: "Study", arm: ArmName = None, models: Annotated[list[str] | None, MODELS] = None, labels: ModelLabels = None
) -> None:
    """Score the classifiers of the arms, or those of --models, on every test set; trains the missing ones first."""
    from genrobust.robustness import top1
    from genrobust.study import predictions_of

    if models and arm is not None:
        raise UserError(f"--arm {arm} is an arm of the recipe, and --models names other classifiers: leave one out")
    if labels and not models:
        raise UserError(f"--labels {labels[0]} names the classes of --models: add --models")
    heads = ["classifier"] if models else ["arm", "seed"]
    table = Table(*heads, *map(escape, study.tests), title="top-1, %, over each set's own classes")
    others = (([name], found) for name, found in predictions_of(study, models or [], labels or [], say))
    for names, found in others if models else _own(study, arm):
        table.add_row(*map(escape, names), *(f"{top1(found[t]).value:.1f}" for t in study.tests))
    out_console.print(table)


@study_command(*ANYWHERE)
def report(study: "Study", estimate: Estimate = True) -> None:
    """Write the report again, after the missing jobs of the study."""
    rows = _rows(study, estimate)
    if any(row.left for row in rows):
        err_console.print("the report needs the whole study; these jobs are missing and run first:")
        _print_work(study, rows, err_console)
    _write_report(study)


def _own(study: "Study", arm: str | None) -> "Iterator[tuple[list[str], Mapping[str, Predictions]]]":
    runs = [run for run in _runs(study, arm) if not run.baseline]
    for run, found in zip(runs, study.predictions(runs), strict=True):
        yield [run.of, str(run.seed)], found


def _rows(study: "Study", estimate: bool) -> "list[Row]":
    """The work of the study; with `estimate`, measures this machine if that was not done before."""
    from genrobust.study import calibrate

    rows = study.rows()
    if estimate:
        calibrate(study.context, rows)
    return rows


def _runs(study: "Study", arm: str | None) -> "list[TrainingRun]":
    from genrobust.study import arm_called

    return study.runs(None if arm is None else arm_called(study.recipe, arm).name)


def _cells(study: "Study", runs: "list[TrainingRun]", part: slice) -> "list[TrainingRun]":
    """The runs of a part of the trainings, of which some serve several runs: two parts must not share one."""
    trainings: dict[Path, list[TrainingRun]] = {}
    for run in runs:
        trainings.setdefault(study.graph.sources.checkpoint(run.tuned), []).append(run)
    return [run for of_one in list(trainings.values())[part] for run in of_one]


def _part(option: str, text: str) -> slice:
    """Every N-th, from the K-th; counted from 1, as in the job arrays of SLURM with --array=1-N."""
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    number, parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= parts:
        raise UserError(f"{option} {text[:40]}: write K/N, part K of N, counted from 1, such as {option} 3/16")
    return slice(number - 1, None, parts)


def _write_report(study: "Study") -> None:
    from genrobust.core import unsealed
    from genrobust.report import final_table

    summary, files = study.run()
    out_console.print()
    out_console.print(final_table(summary, out_console.width))
    tell(*files.values())
    verdict, *more = map(escape, unsealed(files["results.json"].read_bytes())["answer"])
    out_console.print(f"\n[bold]{verdict}[/]", *more, sep="\n", soft_wrap=False)


def _print_planned(study: "Study", missing: UserError) -> None:
    """Print the work that the recipe alone determines, where its images are missing."""
    from genrobust.study import generation_time, requests_of

    for name, count in requests_of(study.recipe).items():
        time = generation_time(count, study.recipe.generation(name)[0], study.context.worker, study.out)
        tell(f"{name}: {time}")
    err_console.print(f"[bold yellow]trainings and evaluations are not listed:[/] {escape(str(missing))}")


def _largest(groups: Mapping[str, int]) -> str:
    """The three largest groups, with their images, by which one sees what they are."""
    found = sorted(groups.items(), key=lambda group: (-group[1], group[0]))
    some = [f"{name} {images:,}" for name, images in found[:3]]
    return ", ".join([*some, *(["..."] if len(found) > 3 else [])])


def _print_work(study: "Study", rows: "Sequence[Row]", to: "Console") -> None:
    """Print done and remaining work, with the time that it takes and the disk space that it needs."""
    from genrobust.core import about
    from genrobust.study import disk, free, published_time, row_seconds, seconds_left

    table = Table("stage", "what", "done", "left here", title=escape(study.recipe.title or study.recipe.name))
    for row in rows:
        alone = row_seconds(row, study.out)
        words = "nothing" if not row.left else "not measured yet" if alone is None else about(alone)
        table.add_row(row.stage.name, escape(row.name), f"{row.done:,} of {row.total:,} {row.unit}", words)
    to.print(table)
    for row in rows:
        if published := published_time(row, study.out):
            to.print(f"{escape(row.name)}: {escape(published)}")
    seconds, unknown = seconds_left(rows, study.out)
    if not seconds and not unknown:
        return
    workers = study.context.executor.workers()
    parts = ([about(seconds)] if seconds else []) + (["steps that are not measured yet"] if unknown else [])
    with_workers = f", with {workers} workers" if workers > 1 else ""
    need, room = disk(rows) / 1e9, free(study.out) / 1e9
    to.print(
        f"left: {' and '.join(parts)}{with_workers}; about {need:.2f} GB of {room:.0f} GB free for "
        f"{escape(str(study.out))}"
    )
    if need > room:
        to.print("[bold yellow]warning:[/] not enough disk space: free some, or choose another --out")
