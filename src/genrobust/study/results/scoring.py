"""Scoring a study: its baseline models and lines, and the summary of its arms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from genrobust.classifiers import SavedPredictions, protocol
from genrobust.core import ZERO_SHOT, BaselineModel, Cells, Curve, Summary
from genrobust.robustness import Comparison, summarize
from genrobust.study.context import Context
from genrobust.study.graph import Graph
from genrobust.study.results.baselines import grid_rows, published_lines, table_rows
from genrobust.study.results.cells import find_cells
from genrobust.study.training_runs import TrainingRun, arm_runs

RunPredictions = SavedPredictions[tuple[str, int, str]]  # by the name of an arm, model or point, seed and test set


@dataclass(frozen=True, slots=True)
class StudyScores:
    """The scores of a study, the baseline models that its lines are fitted on, and notes on shifts without a line.

    `curves` are those of arms with several numbers under `wise_ft`, `cells` those that arms train on and lack.
    """

    summary: Summary
    baselines: list[BaselineModel]
    notes: tuple[str, ...]
    curves: tuple[Curve, ...]
    cells: tuple[Cells, ...]


def score_study(graph: Graph) -> StudyScores:
    """Score the classifiers of a study, the zero-shot CLIP beside the arms with each seed; what is missing is made.

    Raises:
        GenrobustError: A logit is NaN.
        UserError: Predictions do not fit each other, or no line can be fitted.
    """
    recipe, context = graph.recipe, graph.context
    graph.evaluate([*graph.runs, *graph.points]).run()  # all at once, baselines too
    zero_shot = graph.zero_shot()
    zero_shot.run()
    grid = [run for run in graph.runs if run.baseline]
    baselines, notes = find_baselines(context, _predictions(graph, grid) if grid else None)
    comparison, without = _comparison(context)
    runs = arm_runs(recipe)
    of_arms, clip = _predictions(graph, runs).folders, zero_shot.of_zero_shot().folders
    beside = {(ZERO_SHOT, seed, test): folder for seed in recipe.seeds for test, folder in clip.items()}
    cells, subsets = find_cells(graph, comparison.beside)
    compared = replace(
        comparison,
        subsets=subsets,
        references=recipe.references(),
        groups=recipe.groups(),
        pairs=[(claim.arm, claim.than) for claim in recipe.claims if claim.arm not in recipe.groups()],
    )
    adapted = None
    if recipe.evaluate.adapt is not None:
        adapted = SavedPredictions(_predictions(graph, runs, adapted=True).folders | beside)
    summary = summarize(SavedPredictions(of_arms | beside), compared, baselines, adapted=adapted)
    pretrained = tuple(filter(recipe.learned_elsewhere, recipe.arm_names))
    summary = replace(summary, trained_elsewhere=(ZERO_SHOT,) if beside else (), pretrained=pretrained)
    curves = []
    for arm, points in groupby(graph.points, lambda run: run.of):
        predictions = _predictions(graph, list(points), lambda run: f"{run.alpha:g}")
        first, *others = dict.fromkeys(point for point, _, _ in predictions)  # all are compared with the last, too
        compared = replace(comparison, reference=others[-1], pairs=[(point, first) for point in others])
        curves.append(Curve(arm, summarize(predictions, compared, baselines)))
    return StudyScores(summary, baselines, (*notes, *without, *_not_adapted(graph, runs)), tuple(curves), cells)


def _not_adapted(graph: Graph, runs: Sequence[TrainingRun]) -> list[str]:
    """Return a note on the arms whose classifiers `evaluate.adapt` leaves as they are."""
    evaluate = graph.evaluate(runs)
    names = dict.fromkeys(run.of for run in runs if not evaluate.is_adapted(run))
    if graph.recipe.evaluate.adapt is None or not names:
        return []
    which = "All arms" if len(names) == len(graph.recipe.arms) else ", ".join(names)
    return [f"{which}: not adapted, since the network has no batch norms."]


def _predictions(
    graph: Graph,
    runs: Sequence[TrainingRun],
    name: Callable[[TrainingRun], str] = lambda run: run.of,
    adapted: bool = False,
) -> RunPredictions:
    """The predictions of `runs`, which are made already, under the names that `name` gives to these."""
    made = zip(runs, graph.evaluate(runs).of(runs, adapted), strict=True)
    return SavedPredictions({(name(run), run.seed, t): folder for run, p in made for t, folder in p.folders.items()})


def _comparison(context: Context) -> tuple[Comparison, list[str]]:
    """How a study measures whatever it compares, and notes on the shifts without a published line."""
    recipe, data, shifts = context.recipe, context.data, context.shifts
    lines, without = published_lines(recipe.robustness, recipe.data, shifts, len(data.labels))
    beside = dict.fromkeys(recipe.evaluate.beside, "named under evaluate.beside")
    if not {*shifts} <= {*data.derived}:
        beside = {shift: "made from other test images" for shift in shifts if shift in data.derived} | beside
    comparison = Comparison(
        clean=data.clean,
        shifts=shifts,
        reference=recipe.reference,
        transform=recipe.robustness.transform,
        min_images=recipe.evaluate.min_images,
        beside=beside,
        bootstrap=recipe.robustness.bootstrap,
        published=lines,
        image_groups={name: groups for name, groups in data.image_groups.items() if name in context.tests},
        pictures={name: images.pictures for name, images in context.test_sets.items() if images.pictures},
    )
    return comparison, without


def check_baselines(context: Context) -> list[str]:
    """Fit the lines that need no trained baselines, so that a mistake in them is reported before any work.

    Returns:
        Notes on shifts without a line and on what is doubtful.

    Raises:
        UserError: The table of baselines cannot be read, or a line cannot be fitted on it.
    """
    return [] if context.recipe.robustness.grid else find_baselines(context, None)[1]


def find_baselines(context: Context, grid: RunPredictions | None) -> tuple[list[BaselineModel], list[str]]:
    """Return the baseline models of the recipe's table, or of its grid, with notes as those of `table_rows`.

    `grid` holds the predictions of the recipe's own baseline models; None without a grid.

    Raises:
        UserError: The table cannot be read or has too few models for a line.
    """
    settings, source = context.recipe.robustness, context.recipe.data.source
    if grid is not None:
        return grid_rows(grid, context.data.clean, context.shifts, settings.transform)
    name = source if settings.baselines == "shipped" else settings.baselines
    if name is None or (settings.baselines == "shipped" and source != "pictograms"):
        return [], []  # there are none, or lines alone
    if name == source and context.recipe.data.classes != "all":
        why = "The shipped baseline models know all classes, and this study has some of them"
        return [], [f"{why}: for a line, train baseline models with robustness.grid."]
    recipe, evaluate = context.recipe, context.recipe.evaluate
    size = evaluate.image_size or recipe.train_of(recipe.arm(recipe.reference)).image_size  # that of every arm
    prepared = protocol(size, evaluate.crop_pct, evaluate.flip)
    return table_rows(name, context.shifts, settings.transform, prepared)
