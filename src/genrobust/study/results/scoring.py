"""Scores a study: its baseline models and lines, and the summary of its arms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from genrobust.classifiers import SavedPredictions, protocol
from genrobust.core import ZERO_SHOT, BaselineModel, Cells, Curve, Summary, Unlabeled
from genrobust.robustness import Comparison, EstimatedStudy, estimate_accuracies, summarize
from genrobust.study.batch import run_steps
from genrobust.study.context import Context
from genrobust.study.plan import StudyPlan
from genrobust.study.results.baselines import grid_rows, published_lines, table_rows
from genrobust.study.results.cells import find_cells
from genrobust.study.steps.predict import open_predictions
from genrobust.study.training_runs import TrainingRun, arm_runs

# By the name of an arm, model or point, its seed and the test set.
RunPredictions = SavedPredictions[tuple[str, int, str]]


@dataclass(frozen=True, slots=True)
class StudyScores:
    """The scores of a study, the baseline models that its lines are fitted on, and notes on shifts without a line.

    `curves` belong to arms with several numbers under `wise_ft`. `cells` says which cells arms train on and lack.
    `unlabeled` are the estimates for images without labels.
    """

    summary: Summary
    baselines: list[BaselineModel]
    notes: tuple[str, ...]
    curves: tuple[Curve, ...]
    cells: tuple[Cells, ...]
    unlabeled: Unlabeled


def score_study(plan: StudyPlan) -> StudyScores:
    """Score the classifiers of a study, and the zero-shot CLIP with each seed; missing predictions are made."""
    recipe = plan.recipe
    zero_shot = _zero_shot_predictions(plan)
    run_steps(plan.steps_for([*plan.runs, *plan.points]))
    grid = [run for run in plan.runs if run.baseline]
    baselines, notes = find_baselines(plan.context, _predictions(plan, grid) if grid else None)
    comparison, without = _comparison(plan.context)
    runs = arm_runs(recipe)
    predictions = SavedPredictions(_predictions(plan, runs).folders | zero_shot)
    adapted = None
    if recipe.evaluate.adapt is not None:
        adapted = SavedPredictions(_predictions(plan, runs, adapted=True).folders | zero_shot)
    cells, subsets = find_cells(plan, comparison.beside)
    compared = replace(
        comparison,
        subsets=subsets,
        references=recipe.references(),
        groups=recipe.groups(),
        pairs=[(claim.arm, claim.than) for claim in recipe.claims if claim.arm not in recipe.groups()],
    )
    summary = replace(
        summarize(predictions, compared, baselines, adapted=adapted),
        trained_elsewhere=(ZERO_SHOT,) if zero_shot else (),
        pretrained=tuple(arm for arm in recipe.arm_names if recipe.learned_elsewhere(arm)),
    )
    curves = tuple(_curves(plan, comparison, baselines))
    unlabeled = _estimate_unlabeled(plan, summary)
    return StudyScores(summary, baselines, (*notes, *without, *_not_adapted(plan, runs)), curves, cells, unlabeled)


def _estimate_unlabeled(plan: StudyPlan, summary: Summary) -> Unlabeled:
    """Estimate accuracies on images without labels, corrected on the shifts that are in the mean."""
    context = plan.context
    names = list(context.data.unlabeled)
    if not names:
        return Unlabeled()
    clean = context.data.clean
    shifts = list(summary.shifts)
    accuracies: dict[tuple[str, str], float] = {}
    for test in (clean, *shifts):
        for arm in plan.recipe.arm_names:
            accuracies[test, arm] = summary.score("top1", arm, test).value
    study = EstimatedStudy(
        predictions=_predictions(plan, arm_runs(plan.recipe), sets=[clean, *shifts, *names]),
        references=plan.recipe.references(),
        clean=clean,
        shifts=shifts,
        unlabeled=names,
        accuracies=accuracies,
    )
    return estimate_accuracies(study)


def _zero_shot_predictions(plan: StudyPlan) -> dict[tuple[str, int, str], Path]:
    """Return the folders of the predictions of the zero-shot CLIP, the same for each seed; none if there is no CLIP."""
    step = plan.zero_shot()
    if step is None:
        return {}
    run_steps([step])
    (predictions,) = open_predictions([step])
    folders: dict[tuple[str, int, str], Path] = {}
    for seed in plan.recipe.seeds:
        for test, folder in predictions.folders.items():
            folders[ZERO_SHOT, seed, test] = folder
    return folders


def _curves(plan: StudyPlan, comparison: Comparison, baselines: Sequence[BaselineModel]) -> Iterator[Curve]:
    """Score the curves of arms with several numbers under `wise_ft`; compare all points with the first and last."""
    for arm, points in groupby(plan.points, lambda run: run.of):
        predictions = _predictions(plan, list(points), lambda run: f"{run.alpha:g}")
        first, *others = dict.fromkeys(point for point, _, _ in predictions)
        compared = replace(comparison, reference=others[-1], pairs=[(point, first) for point in others])
        yield Curve(arm, summarize(predictions, compared, baselines))


def _not_adapted(plan: StudyPlan, runs: Sequence[TrainingRun]) -> list[str]:
    """Return a note on the arms whose classifiers `evaluate.adapt` leaves unchanged."""
    if plan.recipe.evaluate.adapt is None:
        return []
    names = dict.fromkeys(run.of for run in runs if not plan.prediction(run).is_adapted)
    if not names:
        return []
    if len(names) == len(plan.recipe.arms):
        which = "All arms"
    else:
        which = ", ".join(names)
    return [f"{which}: not adapted, since the network has no batch norms."]


def _predictions(
    plan: StudyPlan,
    runs: Sequence[TrainingRun],
    name: Callable[[TrainingRun], str] = lambda run: run.of,
    adapted: bool = False,
    sets: Sequence[str] | None = None,
) -> RunPredictions:
    """Open the predictions of `runs`, which are made already, under the names that `name` gives to these.

    `sets` are the sets of images, by default the test sets.
    """
    wanted = plan.context.tests if sets is None else sets
    opened = open_predictions(plan.predict(runs), adapted)
    folders: dict[tuple[str, int, str], Path] = {}
    for run, predictions in zip(runs, opened, strict=True):
        for test in wanted:
            folders[name(run), run.seed, test] = predictions.folders[test]
    return SavedPredictions(folders)


def _comparison(context: Context) -> tuple[Comparison, list[str]]:
    """Return how the study compares its arms, and notes on the shifts without a published line."""
    recipe = context.recipe
    data = context.data
    shifts = context.shifts
    lines, without = published_lines(recipe.robustness, recipe.data, shifts, len(data.labels))
    beside = dict.fromkeys(recipe.evaluate.beside, "named under evaluate.beside")
    derived = [shift for shift in shifts if shift in data.derived]
    if len(derived) < len(shifts):
        beside = dict.fromkeys(derived, "made from other test images") | beside
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
        Notes on shifts without a line and on doubtful lines.
    """
    if context.recipe.robustness.grid:
        return []
    return find_baselines(context, None)[1]


def find_baselines(context: Context, grid: RunPredictions | None) -> tuple[list[BaselineModel], list[str]]:
    """Return the baseline models of the recipe's table or grid, with notes.

    `grid` holds the predictions of the recipe's own baseline models; None without a grid.
    """
    recipe = context.recipe
    settings = recipe.robustness
    source = recipe.data.source
    if grid is not None:
        return grid_rows(grid, context.data.clean, context.shifts, settings.transform)
    name = source if settings.baselines == "shipped" else settings.baselines
    if name is None or (settings.baselines == "shipped" and source != "pictograms"):
        # There are no baselines, or only their lines.
        return [], []
    if name == source and recipe.data.classes != "all":
        why = "The shipped baseline models know all classes, and this study has some of them"
        return [], [f"{why}: for a line, train baseline models with robustness.grid."]
    evaluate = recipe.evaluate
    # All arms have the same image size.
    size = evaluate.image_size or recipe.train_of(recipe.arm(recipe.reference)).image_size
    prepared = protocol(size, evaluate.crop_pct, evaluate.flip)
    return table_rows(name, context.shifts, settings.transform, prepared)
